package dnssd_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/mfpgate/mfpgate/usb/endpoint/dnssd"
)

func TestATakenNameGetsANumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		one := w.host(t, "printers", "10.1.0.1")
		one.publish(t, "Copier 2F")
		after(settle)
		two := w.host(t, "printers", "10.1.0.2")
		two.publish(t, "Copier 2F")
		two.publish(t, "Copier 2F") // its own, too
		after(3 * settle)
		got := map[string][]string{"one": one.named(), "two": two.named(), "hosts": {one.Host(), two.Host()}}
		slices.Sort(got["two"])
		want := map[string][]string{"one": {"Copier 2F"}, "two": {"Copier 2F (2)", "Copier 2F (3)"}, "hosts": {"printers.local", "printers-2.local"}}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		n := w.count()
		w.say("10.1.0.9:5353", question(`Copier\0322F\032\(2\)._ipp._tcp.local.`, dns.TypeANY))
		after(time.Second)
		if got := w.since(n, "10.1.0.2"); len(got) != 1 || !strings.Contains(fmt.Sprint(text(got[0].Answer)), "61000 printers-2.local.") ||
			!strings.Contains(fmt.Sprint(text(got[0].Answer)), "adminurl=http://printers-2.local:61000/") {
			t.Errorf("%v", got)
		}
		one.stop()
		two.stop()
	})
}

// Of two who start at once one has the name in the end, and the other a number (RFC 6762 §8.2).
func TestBothStartAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		one, two := w.host(t, "a", "10.1.0.1"), w.host(t, "b", "10.1.0.2")
		one.publish(t, "Copier 2F")
		two.publish(t, "Copier 2F")
		after(4 * settle)
		names := append(one.named(), two.named()...)
		slices.Sort(names)
		if d := cmp.Diff([]string{"Copier 2F", "Copier 2F (2)"}, names); d != "" {
			t.Error(d)
		}
		one.stop()
		two.stop()
	})
}

// A name that is contested later is probed for again; who defends it keeps it (RFC 6762 §9).
func TestAContestedName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		h := w.host(t, "printers", "10.1.0.1")
		h.publish(t, "Copier 2F")
		after(settle)
		theirs := records(t, copier+" 120 IN SRV 0 0 631 other.local.")
		for _, m := range []*dns.Msg{
			response(records(t, copier+" 0 IN SRV 0 0 631 other.local.")...),   // a goodbye contests nothing
			response(records(t, "printers.local. 120 IN A 10.1.0.1")...),       // nor does what is so
			response(records(t, "other.local. 120 IN A 10.1.0.77")...),         // nor another's name
			response(records(t, copier+" 4500 IN NSEC "+copier+" TXT SRV")...), // nor what there is not
		} {
			n := w.count()
			w.say("10.1.0.9:5353", m)
			after(settle)
			if got := w.since(n, "10.1.0.1"); len(got) != 0 {
				t.Errorf("after %v: %v", m.Answer, got)
			}
		}
		n := w.count()
		w.say("10.1.0.9:5353", response(theirs...))
		after(settle)
		if got := w.since(n, "10.1.0.1"); len(got) != 5 || got[0].Response || !got[4].Response { // probes and announcements
			t.Errorf("after a conflict: %v", got)
		}
		if d := cmp.Diff([]string{"Copier 2F"}, h.named()); d != "" {
			t.Error(d)
		}
		w.say("10.1.0.9:5353", response(theirs...))
		after(300 * time.Millisecond)
		w.say("10.1.0.9:5353", response(theirs...)) // an answer to the probe
		after(settle)
		if d := cmp.Diff([]string{"Copier 2F", "Copier 2F (2)"}, h.named()); d != "" {
			t.Error(d)
		}
		h.stop()
	})
}

// Who contests every name has us probe slowly (RFC 6762 §8.1).
func TestAContesterWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		h := w.host(t, "printers", "10.1.0.1")
		h.publish(t, "Copier 2F")
		answered := 0
		for range 600 { // a minute
			after(100 * time.Millisecond)
			heard := w.since(0, "10.1.0.1")
			for _, p := range heard[answered:] {
				if !p.Response && strings.Contains(p.Question[0].Name, "_ipp") {
					w.say("10.1.0.9:5353", response(records(t, p.Question[0].Name+" 120 IN SRV 0 0 631 other.local.")...))
				}
			}
			answered = len(heard)
		}
		if len(h.named()) != 0 {
			t.Errorf("took %s", h.named())
		}
		if n := w.count(); n > 120 {
			t.Errorf("%d packets in a minute", n)
		}
		after(time.Minute)
		if n := len(h.named()); n != 1 {
			t.Errorf("left alone it took %d names", n)
		}
		h.stop()
	})
}

// Wired and wireless are often one network: what we say on one comes back on the other, with the other's addresses (RFC 6762 §14).
func TestTwoInterfacesOnOneNetworkAreNoConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		h := w.host(t, "printers", "10.1.0.1")
		wlan0 := eth0
		wlan0.Index, wlan0.Name = 3, "wlan0"
		h.mu.Lock()
		h.links = append(h.links, dnssd.Interface{Interface: wlan0, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.2/24")}})
		h.mu.Unlock()
		h.publish(t, "Copier 2F")
		after(time.Minute)
		if d := cmp.Diff([]string{"Copier 2F"}, h.named()); d != "" || h.Host() != "printers.local" {
			t.Errorf("%s: %s", h.Host(), d)
		}
		said := map[string]bool{}
		for _, p := range w.since(0, "") {
			for _, line := range text(p.Answer) {
				said[line] = true
			}
		}
		if !said["!printers.local. A 10.1.0.1"] || !said["!printers.local. A 10.1.0.2"] {
			t.Errorf("said %v", said)
		}
		w.say("10.1.0.9:5353", response(records(t, "printers.local. 120 IN A 10.1.0.2")...)) // what a reflector heard on the other
		after(settle)
		if n := w.count(); n > 30 {
			t.Errorf("%d packets", n)
		}
		h.stop()
	})
}

// A probe at the same time is a conflict for one of the two only: the greater data win, and the other begins again after a second, for
// what it heard may be of the past (RFC 6762 §8.2).
func TestProbesAtTheSameTime(t *testing.T) {
	for _, c := range []struct {
		rule, theirs string
		waits        bool
	}{
		{"the greater port wins", "0 0 61001 printers.local.", true},
		{"the smaller one loses", "0 0 60999 printers.local.", false},
		{"the priority comes first", "1 0 1 a.local.", true},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWire()
			h := w.host(t, "printers", "10.1.0.1")
			h.publish(t, "Copier 2F")
			after(300 * time.Millisecond)
			probe := question(copier, dns.TypeANY)
			probe.Ns = records(t, copier+` 4500 IN TXT "txtvers=1" "rp=ipp/print" "note=\195\169\\\"" "adminurl=http://printers.local:61000/"`,
				copier+" 120 IN SRV "+c.theirs)
			w.say("10.1.0.9:5353", probe)
			n := w.count()
			after(800 * time.Millisecond)
			waited := true
			for _, p := range w.since(n, "10.1.0.1") {
				if !p.Response && strings.Contains(p.Question[0].Name, "_ipp") {
					waited = false
				}
			}
			if waited != c.waits {
				t.Errorf("%s: waited %v", c.rule, waited)
			}
			after(settle)
			if d := cmp.Diff([]string{"Copier 2F"}, h.named()); d != "" {
				t.Errorf("%s: %s", c.rule, d)
			}
			h.stop()
		})
	}
}
