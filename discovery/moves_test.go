package discovery_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store/memory"
)

// The story of a printer that takes another IPv4 address, and then restarts with another name and so another UUID. What it
// announces never has the serial number, which is all that stays.
var (
	unmoved      = mfpgate.Identity{UUID: "11111111-aaaa-4b6c-9000-000000000001", Make: "HP", Model: "E52645"}
	moved        = mfpgate.Identity{UUID: "11111111-aaaa-4b6c-9000-000000000002", Make: "HP", Model: "E52645"}
	announced2F  = announced("Copier 2F", "_ipp", "h1.local", 631, unmoved, "10.1.0.9", "fd77::9")
	announced2Fs = announced("Copier 2F", "_ipps", "h1.local", 631, unmoved, "10.1.0.9", "fd77::9")
	onlyIPv4     = announced("Copier 2F", "_ipp", "h1.local", 631, unmoved, "10.1.0.9") // the other address is not known yet
	announced5F  = announced("Copier 5F", "_ipp", "h1.local", 631, moved, "10.1.0.77", "fd77::9")
	announced5Fs = announced("Copier 5F", "_ipps", "h1.local", 631, moved, "10.1.0.77", "fd77::9")
	answered2F   = answeredIPP("10.1.0.9:631", withSerial(unmoved))
	answered2F6  = answeredIPP("[fd77::9]:631", withSerial(unmoved))
	answered5F   = answeredIPP("10.1.0.77:631", withSerial(moved))
	answered5F6  = answeredIPP("[fd77::9]:631", withSerial(moved))
)

func withSerial(i mfpgate.Identity) mfpgate.Identity {
	i.Serial = "JPBCN1Q0AB"
	return i
}

func withdrawn(s mfpgate.Sighting) mfpgate.Sighting {
	s.Gone, s.Endpoints = true, nil
	return s
}

// becomesOne fails unless all that is shown is of the device that was met first.
func (s *site) becomesOne(what any, order []mfpgate.Sighting) {
	s.t.Helper()
	s.store = memory.New() // nothing is known yet; a site of its own for each would cost most of the time
	r, stop := s.open(policy())
	defer stop()
	var first mfpgate.DeviceID
	for _, sighting := range order {
		s.clock.Advance(time.Second)
		r.Sight(sighting)
		if first == "" {
			first = r.IDs()[0]
		}
	}
	if all := r.IDs(); len(all) != 1 || all[0] != first {
		var ids []string
		for _, o := range order {
			ids = append(ids, fmt.Sprintf("%s UUID %s gone %v", o.ID, o.Identity.UUID[max(0, len(o.Identity.UUID)-2):], o.Gone))
		}
		s.t.Fatalf("%v: %q became\n%s", what, ids, sheet(r))
	}
}

func TestAPrinterThatMovesAndIsRenamedIsOne(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		rule  string
		order []mfpgate.Sighting
	}{
		{"an address that only the new name has proves the serial number", []mfpgate.Sighting{
			onlyIPv4, answered2F, announced2Fs, withdrawn(announced2F), withdrawn(announced2Fs),
			announced5F, announced5Fs, answered5F, answered5F6}},
		{"an answer that took its time to come does", []mfpgate.Sighting{
			announced2F, announced2Fs, withdrawn(announced2F), withdrawn(announced2Fs), announced5F, answered5F, answered5F6, announced5Fs,
			answered2F, answered2F6}},
		{"the address that both names have proves it first", []mfpgate.Sighting{
			announced2F, answered2F, answered2F6, withdrawn(announced2F), announced5F, answered5F6, answered5F}},
		{"it does so while the old name is announced", []mfpgate.Sighting{
			announced2F, answered2F, answered2F6, announced5F, answered5F6, answered5F}},
	} {
		s.becomesOne(c.rule, c.order)
	}
	// Sources tell of it in whatever order, but the old name before anything new: nothing of that is there yet.
	permutations([]mfpgate.Sighting{announced2F, answered2F, answered2F6, withdrawn(announced2F), announced5F, answered5F, answered5F6}, func(order []mfpgate.Sighting) {
		for _, first := range order {
			switch {
			case first.ID == announced2F.ID && !first.Gone:
				s.becomesOne("every order", order)
				return
			case !first.Answered || first.Identity.UUID == moved.UUID:
				return
			}
		}
	})
}

// The same with more of what a printer shows: both services, an agent, and what is shown again.
func TestAPrinterThatMovesIsOneWhateverShowsIt(t *testing.T) {
	s := newSite(t)
	agent := withSerial(mfpgate.Identity{Make: "HP", Model: "HP E52645", SysObjectID: "1.3.6.1.4.1.11.2.3.9.1"})
	announcements := []mfpgate.Sighting{onlyIPv4, announced2Fs, announced2F, withdrawn(announced2Fs), withdrawn(announced2F), announced5Fs, announced5F}
	before := []mfpgate.Sighting{answered2F, answered2F6, answeredSNMP("10.1.0.9", agent)}
	after := []mfpgate.Sighting{answered5F, answered5F6, answeredSNMP("10.1.0.77", agent)}
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 7))
		order := slices.Clone(announcements)
		for range 2 {
			for _, answer := range slices.Concat(before, after) {
				order = slices.Insert(order, 1+rng.IntN(len(order)), answer)
			}
		}
		s.becomesOne(seed, order)
	}
}
