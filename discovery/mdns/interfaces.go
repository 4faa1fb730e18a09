package mdns

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

func multicastInterfaces() ([]net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	const want = net.FlagUp | net.FlagMulticast
	var use []net.Interface
	for _, i := range all {
		if i.Flags&want != want || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		if _, addressed := prefixes(i); addressed { // a bridge's ports are not
			use = append(use, i)
		}
	}
	return use, nil
}

// poll looks which interfaces there are, joins what is new and leaves what is gone.
func (q *Querier) poll() {
	q.polled = q.now
	interfaces, err := q.Interfaces()
	if q.hinder("", "list interfaces", err) {
		return // what was there is kept
	}
	here := map[int]net.Interface{}
	for _, i := range interfaces {
		here[i.Index] = i
	}
	for index, l := range q.links {
		if i, ok := here[index]; !ok || i.Name != l.ifi.Name {
			q.drop(l)
		}
	}
	for index, i := range here {
		l := q.links[index]
		if l == nil {
			l = newLink(q, i)
		}
		q.join(l, i)
	}
}

// join makes the link's families what the interface has now. A link that got one more, or its carrier back, starts anew:
// it may be another network (RFC 6762 §8.3 has it so for responders).
func (q *Querier) join(l *link, i net.Interface) {
	plugged := i.Flags&net.FlagRunning != 0 && l.ifi.Flags&net.FlagRunning == 0
	l.ifi = i
	known := false
	l.prefixes, known = prefixes(i)
	before := l.families
	for _, f := range []Family{IPv4, IPv6} {
		// Without an address of its own the kernel would send from another interface's.
		if known && !slices.ContainsFunc(l.prefixes, func(p netip.Prefix) bool { return p.Addr().Is4() == (f == IPv4) }) {
			q.conn.Leave(i, f)
			l.families &^= f
			continue
		}
		err := q.conn.Join(i, f)
		q.hinder(i.Name, familyName(f), err)
		if err == nil {
			l.families |= f
		} else {
			l.families &^= f
		}
	}
	switch {
	case l.families == 0 && q.links[i.Index] == l:
		q.drop(l)
	case l.families == 0:
	case q.links[i.Index] == nil:
		q.links[i.Index] = l
		q.Log.Debug().Str(field.Interface, i.Name).Msg(event.LinkJoined)
		l.start(true)
	case l.families&^before != 0 || plugged:
		l.start(true)
	}
}

func (q *Querier) drop(l *link) {
	for _, f := range []Family{IPv4, IPv6} {
		q.conn.Leave(l.ifi, f)
	}
	delete(q.links, l.ifi.Index)
	for key := range l.instances {
		q.changed[key] = struct{}{}
	}
	q.Log.Debug().Str(field.Interface, l.ifi.Name).Msg(event.LinkLeft)
}

// hinder logs an error when it begins, and says whether there is one. Most are no fault: an interface without IPv6, or one
// whose cable is pulled.
func (q *Querier) hinder(where, what string, err error) bool {
	key := where + "\x00" + what
	if err == nil {
		delete(q.hindered, key)
		return false
	}
	if !q.hindered[key] && len(q.hindered) < 1024 { // interfaces come and go under new names
		q.hindered[key] = true
		q.Log.Info().Str(field.Interface, where).Str(field.Text, what).Str(field.Error, err.Error()).Msg(event.LinkHindered)
	}
	return true
}

// prefixes are those of an interface's addresses; not known if there are none, as when it is gone just now.
func prefixes(i net.Interface) (all []netip.Prefix, known bool) {
	addresses, err := i.Addrs()
	if err != nil {
		return nil, false
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				ones, _ := n.Mask.Size()
				all = append(all, netip.PrefixFrom(ip.Unmap(), ones))
			}
		}
	}
	return all, len(all) > 0
}

func familyName(f Family) string {
	if f == IPv4 {
		return "IPv4"
	}
	return "IPv6"
}
