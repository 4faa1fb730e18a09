package soak_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// TestWhole prints 20 MB through each door, byte for byte.
func TestWhole(t *testing.T) {
	const size = 20_000_000
	s := newSite(t)
	for i, d := range doors() {
		p := s.plug(d.printer(d.layouts()[0]), fmt.Sprintf("1-%d", i+1))
		s.driven(p, d.mode())
		stream := func() io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{byte(i)}), size) }
		sum := sha256.New()
		_, _ = io.Copy(sum, stream())
		if d.mode() == mfpgate.USBModeRaw {
			p.Raw.Take()
		}
		j := s.begin(p, d, mfpgate.Document{Name: "whole", Format: d.format(), Size: size, Content: stream()})
		<-j.ended
		if j.err != nil || j.status.State != completed || d != served && j.status.Sent != size {
			t.Errorf("%s: %+v, %v", d, j.status, j.err)
		}
		digest := hex.EncodeToString(sum.Sum(nil))
		if !reached(func() bool { return p.copies(d, paper{make([]byte, size), digest}) == 1 }) {
			t.Errorf("%s: what was printed is not what was sent", d)
		}
	}
	s.without()
}

// TestTwoAtOnce: of two printers that print, one is unplugged; the other prints on undisturbed.
func TestTwoAtOnce(t *testing.T) {
	s := newSite(t)
	rng := rand.New(rand.NewPCG(3, 3))
	for _, left := range doors() {
		for _, stays := range doors() {
			o := stays.printer(stays.layouts()[0])
			o.Serial = "S2"
			a, b := s.plug(left.printer(left.layouts()[0]), "1-1"), s.plug(o, "1-2")
			s.driven(a, left.mode())
			s.driven(b, stays.mode())
			doc, other := newPaper(noise(rng, 200_000)), newPaper(noise(rng, 400_000))
			out := func(p *plugged, d door) *model.Out {
				if d.mode() == mfpgate.USBModeRaw {
					p.Raw.Take()
					return p.RawOut
				}
				return p.Pairs[0].Out
			}
			out(a, left).Fail(model.Fault{Kind: model.Nak, After: 100_000})
			waits := out(b, stays)
			waits.Fail(model.Fault{Kind: model.Nak, After: 100_000})
			broken, whole := s.begin(a, left, doc.document(left)), s.begin(b, stays, other.document(stays))
			s.await("both print", func() bool { return a.faults() == 0 && b.faults() == 0 })
			a.pull()
			waits.Resume()
			<-broken.ended
			<-whole.ended
			if broken.err == nil || broken.status.State != aborted {
				t.Errorf("%s, unplugged: %+v, %v", left, broken.status, broken.err)
			}
			if whole.err != nil || whole.status.State != completed || !reached(func() bool { return b.copies(stays, other) == 1 }) {
				t.Errorf("%s, while another was unplugged: %+v, %v", stays, whole.status, whole.err)
			}
			if n := b.Dev.Resets(); n != 0 {
				t.Errorf("%s: reset %d times", stays, n)
			}
			s.without()
		}
	}
}

// TestTheSameTwice: two printers of one model, without serial numbers or with the same one, are two, and each gets its own documents,
// also when they have changed places.
func TestTheSameTwice(t *testing.T) {
	s := newSite(t)
	rng := rand.New(rand.NewPCG(4, 4))
	for _, serial := range []string{"", "SAME", "000000000000"} {
		for _, d := range []door{plain, framed, asked, served} {
			o := d.printer(d.layouts()[0])
			o.Serial = serial
			for range 2 { // the second time they are plugged in the other way round
				var both []*plugged
				for _, port := range []string{"1-1", "1-2"} {
					both = append(both, s.plug(o, port))
				}
				var urls []string
				for _, p := range both {
					s.driven(p, d.mode())
					urls = append(urls, s.show(p).URL)
				}
				if d.mode() == mfpgate.USBModeIPP && urls[0] == urls[1] {
					t.Errorf("serial %q, %s: both are at %s", serial, d, urls[0])
				}
				ids := map[mfpgate.SightingID]bool{}
				for _, p := range s.printers.List() {
					ids[p.Sighting] = true
					if serial != "" && p.Identity.Serial == serial {
						t.Errorf("serial %q, %s: %s is told apart by it", serial, d, p.Sighting)
					}
				}
				if len(ids) != 2 {
					t.Errorf("serial %q, %s: %d printers", serial, d, len(ids))
				}
				for i, p := range both {
					doc := newPaper(noise(rng, 50_000))
					s.prints(p, d, doc)
					if n := both[1-i].copies(d, doc); n != 0 {
						t.Errorf("serial %q, %s: printed on the other, too", serial, d)
					}
				}
				s.without()
				slices.Reverse(both)
			}
		}
	}
}

// TestLyingIDs: whatever a printer makes of its IEEE 1284 id, it is driven, known by what can be read, and prints.
func TestLyingIDs(t *testing.T) {
	s := newSite(t)
	rng := rand.New(rand.NewPCG(5, 5))
	for _, form := range model.IDForms() {
		for _, d := range []door{plain, asked} {
			o := d.printer(d.layouts()[0])
			o.IDForm = form
			p := s.plug(o, "1-3")
			s.driven(p, d.mode())
			s.prints(p, d, newPaper(noise(rng, 20_000)))
			for _, got := range s.printers.List() {
				i := got.Identity
				if got.Port != bus.Port("1-3") || i.Make != "Rigworks" || i.Model != "Composite 100" || i.USB != "1209:0001:S1" {
					t.Errorf("%q through %s: it is %+v", form, d, i)
				}
			}
			s.without()
		}
	}
}

// TestUnpluggedWhileOpened pulls the plug after each number of bytes of control transfers, while the printer is asked who it is.
func TestUnpluggedWhileOpened(t *testing.T) {
	s := newSite(t)
	rng := rand.New(rand.NewPCG(6, 6))
	for _, d := range []door{plain, asked} {
		for after := int64(0); after < 240; after += 12 {
			o := d.printer(d.layouts()[0])
			p := &plugged{Printer: model.New(o), port: "1-2"}
			e, _ := p.Endpoint(0)
			e.Fail(model.Fault{Kind: model.Unplug, After: after})
			s.put(p)
			reached(func() bool { return e.Faults() == 0 || p.Claimed() == p.faces(d.mode()) })
			p.pull()
			again := s.plug(o, "1-2")
			s.driven(again, d.mode())
			s.prints(again, d, newPaper(noise(rng, 5_000)))
			again.pull()
		}
	}
	s.without()
}
