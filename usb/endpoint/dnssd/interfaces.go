package dnssd

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate/protocol/multicast"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

const maxAddresses = 16 // of a link

// Links are the machine's interfaces that can multicast, with their addresses: on which a Responder publishes, of each what Options.Admit
// lets it.
func Links() ([]Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	const want = net.FlagUp | net.FlagMulticast
	var use []Interface
	for _, i := range all {
		if i.Flags&want != want || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			continue // it is gone just now
		}
		one := Interface{Interface: i}
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(n.IP); ok {
					ones, _ := n.Mask.Size()
					one.Prefixes = append(one.Prefixes, netip.PrefixFrom(ip.Unmap(), ones))
				}
			}
		}
		use = append(use, one)
	}
	return use, nil
}

// poll looks which links there are, while there is something to publish.
func (r *Responder) poll() {
	if len(r.claims) > 0 && (r.now.Sub(r.polled) >= pollInterval || len(r.links) == 0) {
		r.polled = r.now
		r.look()
	}
	for _, l := range r.links {
		if len(r.claims) == 0 {
			r.drop(l)
			continue
		}
		for _, c := range append([]*claim{r.host}, r.claims...) {
			if l.standings[c] == nil {
				l.claim(c, 0)
			}
		}
	}
	if len(r.claims) == 0 {
		r.polled = r.now
	}
}

func (r *Responder) look() {
	interfaces, err := r.o.Interfaces()
	if r.hinder("", "list interfaces", err) {
		return // what was there is kept
	}
	here := map[int]Interface{}
	for _, i := range interfaces {
		here[i.Index] = i
	}
	for index, l := range r.links {
		if i, ok := here[index]; !ok || i.Name != l.ifi.Name {
			r.drop(l)
		}
	}
	for _, index := range slices.Sorted(maps.Keys(here)) {
		r.join(here[index])
	}
}

// join makes a link of an interface, or of one that changed: a name that was free on the link before may not be now (RFC 6762 §8.3).
func (r *Responder) join(i Interface) {
	l := r.links[i.Index]
	changed := l == nil || !slices.Equal(l.ifi.Prefixes, i.Prefixes) ||
		i.Flags&net.FlagRunning != 0 && l.ifi.Flags&net.FlagRunning == 0
	if l == nil {
		l = &link{r: r, standings: map[*claim]*standing{}, last: map[string]time.Time{}, tokens: burst, filled: r.now}
	}
	l.ifi = i
	l.addresses = nil
	var has multicast.Family
	for _, p := range i.Prefixes {
		if p.Addr().Is4() {
			has |= multicast.IPv4
		} else {
			has |= multicast.IPv6
		}
		if r.o.Admit(p.Addr()) && len(l.addresses) < maxAddresses {
			l.addresses = append(l.addresses, p.Addr())
		}
	}
	if len(l.addresses) == 0 {
		has = 0
	}
	before := l.families
	l.families = 0
	for _, f := range []multicast.Family{multicast.IPv4, multicast.IPv6} {
		if has&f == 0 { // without an address of its own the kernel would send from another interface's
			r.conn.Leave(i.Interface, f)
		} else if !r.hinder(i.Name, familyName(f), r.conn.Join(i.Interface, f)) {
			l.families |= f
		}
	}
	maps.DeleteFunc(l.last, func(_ string, at time.Time) bool { return r.now.Sub(at) > time.Hour })
	switch {
	case l.families == 0:
		delete(r.links, i.Index)
	case changed || l.families&^before != 0:
		r.links[i.Index] = l
		clear(l.standings) // poll claims all anew
	}
}

func (r *Responder) drop(l *link) {
	l.leave()
	delete(r.links, l.ifi.Index)
}

func (l *link) leave() {
	for _, f := range []multicast.Family{multicast.IPv4, multicast.IPv6} {
		l.r.conn.Leave(l.ifi.Interface, f)
	}
}

// hinder logs an error when it begins, and says whether there is one. Most are no fault: an interface without IPv6, or one
// whose cable is pulled.
func (r *Responder) hinder(where, what string, err error) bool {
	key := where + "\x00" + what
	if err == nil {
		delete(r.hindered, key)
		return false
	}
	if !r.hindered[key] && len(r.hindered) < 1024 { // interfaces come and go under new names
		r.hindered[key] = true
		r.o.Log.Info().Str(field.Interface, where).Str(field.Text, what).Str(field.Error, err.Error()).Msg(event.EndpointHindered)
	}
	return true
}

func familyName(f multicast.Family) string {
	if f == multicast.IPv4 {
		return "IPv4"
	}
	return "IPv6"
}
