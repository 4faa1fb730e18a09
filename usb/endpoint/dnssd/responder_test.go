package dnssd_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/endpoint/dnssd"
)

const (
	copier = `Copier\0322F._ipp._tcp.local.`
	settle = 3 * time.Second
)

// text is records as lines, sorted, without TTL, and with a bang where the cache is to be flushed.
func text(rrs []dns.RR) (out []string) {
	for _, rr := range rrs {
		h := rr.Header()
		bang := ""
		if h.Class&(1<<15) != 0 {
			bang = "!"
		}
		data := strings.TrimPrefix(rr.String(), h.String())
		out = append(out, fmt.Sprintf("%s%s %s %s", bang, strings.ToLower(h.Name), dns.TypeToString[h.Rrtype], data))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

var everything = []string{
	`!copier\0322f._ipp._tcp.local. SRV 0 0 61000 printers.local.`,
	`!copier\0322f._ipp._tcp.local. TXT "txtvers=1" "rp=ipp/print" "note=\195\169\\\"" "adminurl=http://printers.local:61000/"`,
	`!printers.local. A 10.1.0.1`,
	`_ipp._tcp.local. PTR Copier\0322F._ipp._tcp.local.`,
	`_print._sub._ipp._tcp.local. PTR Copier\0322F._ipp._tcp.local.`,
	`_services._dns-sd._udp.local. PTR _ipp._tcp.local.`,
	`_universal._sub._ipp._tcp.local. PTR Copier\0322F._ipp._tcp.local.`,
}

// norm undoes the two ways in which the codec prints a space.
func norm(lines []string) (out []string) {
	for _, l := range lines {
		out = append(out, strings.ReplaceAll(l, `\ `, `\032`))
	}
	return out
}

func TestNamesAreProbedThenAnnouncedAndTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		h := w.host(t, "printers", "10.1.0.1")
		withdraw := h.publish(t, "Copier 2F")
		after(settle)
		probes, announced := map[string][]time.Duration{}, []dns.RR{}
		for _, p := range w.since(0, "") {
			if !p.Response {
				name := p.Question[0].Name
				if p.Question[0].Qtype != dns.TypeANY || p.Question[0].Qclass != dns.ClassINET || len(p.Ns) == 0 {
					t.Errorf("probe %v", p)
				}
				probes[name] = append(probes[name], p.at)
			} else {
				announced = append(announced, p.Answer...)
				if first := probes["printers.local."][0]; p.at < first+750*time.Millisecond-250*time.Millisecond {
					t.Errorf("announced at %v, first probe at %v", p.at, first)
				}
			}
		}
		for name, at := range probes {
			if len(at) != 3 || at[0] > 250*time.Millisecond || at[1]-at[0] != 250*time.Millisecond || at[2]-at[1] != 250*time.Millisecond {
				t.Errorf("%s was probed at %v", name, at)
			}
		}
		if len(probes) != 2 {
			t.Errorf("probed %v", probes)
		}
		if d := cmp.Diff(everything, norm(text(announced))); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff([]string{"Copier 2F"}, h.named()); d != "" {
			t.Error(d)
		}
		n := w.count()
		withdraw()
		withdraw()
		synctest.Wait()
		var gone []dns.RR
		for _, p := range w.since(n, "") {
			for _, rr := range p.Answer {
				if rr.Header().Ttl != 0 {
					t.Errorf("goodbye with %s", rr)
				}
				gone = append(gone, rr)
			}
		}
		want := slices.DeleteFunc(slices.Clone(everything), func(l string) bool { return strings.HasPrefix(l, "!printers") || strings.HasPrefix(l, "_services") })
		if d := cmp.Diff(want, norm(text(gone))); d != "" {
			t.Error(d)
		}
		h.stop()
	})
}

func TestStoppingSaysGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		h := w.host(t, "printers", "10.1.0.1")
		h.publish(t, "Copier 2F")
		after(settle)
		n := w.count()
		h.stop()
		var gone []string
		for _, p := range w.since(n, "") {
			gone = append(gone, norm(text(p.Answer))...)
		}
		if !slices.Contains(gone, everything[0]) || !slices.Contains(gone, everything[2]) || !slices.Contains(gone, everything[3]) {
			t.Errorf("goodbye for %s", gone)
		}
	})
}

func TestAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		h := w.host(t, "printers", "10.1.0.1")
		h.publish(t, "Copier 2F")
		after(settle)
		known := question("_ipp._tcp.local.", dns.TypePTR)
		known.Answer = records(t, "_ipp._tcp.local. 4000 IN PTR "+copier)
		stale := question("_ipp._tcp.local.", dns.TypePTR)
		stale.Answer = records(t, "_ipp._tcp.local. 2000 IN PTR "+copier)
		alone := question(copier, dns.TypeSRV)
		alone.Question[0].Qclass |= 1 << 15
		many := question(copier, dns.TypeSRV)
		for range 200 {
			many.Question = append(many.Question, many.Question[0])
		}
		for _, c := range []struct {
			rule    string
			from    string
			m       *dns.Msg
			answers []string
			extras  int
			to      string
		}{
			{"a type's instances, with what comes next", "10.1.0.9:5353", question("_ipp._tcp.local.", dns.TypePTR), everything[3:4], 4, ""},
			{"a subtype's", "10.1.0.9:5353", question("_Universal._sub._ipp._tcp.LOCAL.", dns.TypePTR), everything[6:7], 4, ""},
			{"what is known is not said", "10.1.0.9:5353", known, nil, 0, ""},
			{"unless it is half over", "10.1.0.9:5353", stale, everything[3:4], 4, ""},
			{"which types there are", "10.1.0.9:5353", question("_services._dns-sd._udp.local.", dns.TypePTR), everything[5:6], 0, ""},
			{"where an instance is", "10.1.0.9:5353", question(copier, dns.TypeSRV), everything[0:1], 2, ""},
			{"everything of it", "10.1.0.9:5353", question(copier, dns.TypeANY), everything[0:2], 2, ""},
			{"a host's address", "10.1.0.9:5353", question("Printers.local.", dns.TypeA), everything[2:3], 1, ""},
			{"that it has no other", "10.1.0.9:5353", question("printers.local.", dns.TypeAAAA), []string{`!printers.local. NSEC printers.local. A`}, 0, ""},
			{"another's name", "10.1.0.9:5353", question("other.local.", dns.TypeA), nil, 0, ""},
			{"another class", "10.1.0.9:5353", &dns.Msg{Question: []dns.Question{{Name: "printers.local.", Qtype: dns.TypeA, Qclass: dns.ClassCHAOS}}}, nil, 0, ""},
			{"to one who wants it alone", "10.1.0.9:5353", alone, everything[0:1], 2, "10.1.0.9:5353"},
			{"to a plain DNS client", "10.1.0.9:40000", question(copier, dns.TypeSRV), []string{everything[0][1:]}, 1, "10.1.0.9:40000"},
			{"that there is no other is nothing to a plain DNS client", "10.1.0.9:40000", question("printers.local.", dns.TypeAAAA), nil, 0, ""},
			{"too many questions", "10.1.0.9:5353", many, nil, 0, ""},
		} {
			after(2 * time.Second) // what was multicast just now is not again
			n := w.count()
			c.m.Id = 77
			w.say(c.from, c.m)
			after(600 * time.Millisecond)
			got := w.since(n, "10.1.0.1")
			var answers []dns.RR
			extras, to := 0, ""
			for _, p := range got {
				answers = append(answers, p.Answer...)
				extras += len(p.Extra)
				if p.to.IsValid() {
					to = p.to.String()
				}
				if plain := strings.HasSuffix(c.from, ":40000"); plain != (p.Id == 77) || plain != (len(p.Question) == 1) || !p.Authoritative || plain && p.Answer[0].Header().Ttl > 10 {
					t.Errorf("%s: %v", c.rule, p)
				}
			}
			if d := cmp.Diff(c.answers, norm(text(answers))); d != "" && len(c.answers)+len(answers) > 0 || extras != c.extras || to != c.to {
				t.Errorf("%s: %s; %d extras, want %d; to %q, want %q", c.rule, d, extras, c.extras, to, c.to)
			}
		}
		n := w.count() // known answers in two packets
		first := question("_ipp._tcp.local.", dns.TypePTR)
		first.Truncated = true
		w.say("10.1.0.9:5353", first)
		w.say("10.1.0.9:5353", &dns.Msg{Answer: known.Answer})
		after(time.Second)
		if got := w.since(n, "10.1.0.1"); len(got) != 0 {
			t.Errorf("known in the second packet, and still said: %v", got)
		}
		n = w.count() // and who never sends the second
		w.say("10.1.0.9:5353", first)
		after(time.Second)
		if got := w.since(n, "10.1.0.1"); len(got) != 1 || got[0].at-w.since(n, "10.1.0.9")[0].at < 400*time.Millisecond {
			t.Errorf("%v", got)
		}
		h.stop()
	})
}

// A network that comes later is probed and announced on, and so is one whose address changed.
func TestALinkThatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		h := w.host(t, "printers", "10.1.0.1")
		links := h.links
		h.mu.Lock()
		h.links = nil
		h.mu.Unlock()
		h.publish(t, "Copier 2F")
		after(settle)
		if w.count() != 0 {
			t.Errorf("%v", w.since(0, ""))
		}
		h.mu.Lock()
		h.links = links
		h.mu.Unlock()
		after(20 * time.Second)
		if d := cmp.Diff([]string{"Copier 2F"}, h.named()); d != "" {
			t.Error(d)
		}
		n := w.count()
		h.mu.Lock()
		h.links = []dnssd.Interface{{Interface: eth0, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.2.0.1/24")}}}
		h.mu.Unlock()
		after(20 * time.Second)
		var said []string
		for _, p := range w.since(n, "") {
			said = append(said, text(p.Answer)...)
		}
		if !slices.Contains(said, "!printers.local. A 10.2.0.1") || slices.Contains(said, "!printers.local. A 10.1.0.1") {
			t.Errorf("after the change: %s", said)
		}
		h.stop()
	})
}

func TestStrangersFromElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		h := w.host(t, "printers", "10.1.0.1")
		h.publish(t, "Copier 2F")
		after(settle)
		n := w.count()
		for range 1000 { // more than is answered
			w.say("10.1.0.9:40000", question(copier, dns.TypeSRV))
		}
		if got := len(w.since(n, "10.1.0.1")); got == 0 || got > 150 {
			t.Errorf("%d answers to 1000 questions at once", got)
		}
		h.stop()
	})
}

func TestWhatCannotBePublished(t *testing.T) {
	for rule, p := range map[string]dnssd.Publication{
		"no name":         {Services: []dnssd.Service{{Type: "_ipp._tcp"}}},
		"no service":      {Name: "a"},
		"no service type": {Name: "a", Services: []dnssd.Service{{Type: "ipp"}}},
		"no subtype":      {Name: "a", Services: []dnssd.Service{{Type: "_ipp._tcp", Subtypes: []string{strings.Repeat("_", 300)}}}},
	} {
		r, err := dnssd.New(dnssd.Options{Clock: mfpgate.SystemClock{}, Host: "x"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Publish(p); !errors.Is(err, dnssd.ErrInvalid) {
			t.Errorf("%s: %v", rule, err)
		}
	}
}
