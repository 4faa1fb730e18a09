package destination_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/destination"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

func judged(d *destination.Dialer, addr string, port uint16, private bool) mfpgate.Reason {
	_, refusal := destination.Allowed(d, []netip.Addr{netip.MustParseAddr(addr)}, port, private)
	if refusal == nil {
		return ""
	}
	return refusal.Reason
}

func TestBox(t *testing.T) {
	const public, public6, lan = "93.184.215.14", "2606:2800::7", "192.168.7.7"
	for _, tc := range []struct {
		rule, listener, addr string
		port                 uint16
		private              bool
		want                 mfpgate.Reason
	}{
		{"an own public address", "192.168.7.7:3128", public, 443, false, destination.ReasonOwn},
		{"an own public IPv6 address", "192.168.7.7:3128", public6, 443, false, destination.ReasonOwn},
		{"an own address that NAT64 leads to", "192.168.7.7:3128", "64:ff9b::" + public, 443, false, destination.ReasonOwn},
		{"private lifts own addresses", "192.168.7.7:3128", public, 443, true, ""},
		{"another public address", "192.168.7.7:3128", "93.184.215.15", 443, false, ""},
		{"the listener, whatever the rule", "192.168.7.7:3128", lan, 3128, true, destination.ReasonSelf},
		{"the listener without private", "192.168.7.7:3128", lan, 3128, false, destination.ReasonSelf},
		{"another port of the listener's address", "192.168.7.7:3128", lan, 3129, true, ""},
		{"the listener's port on another own address", "192.168.7.7:3128", public, 3128, true, ""},
		{"a wildcard listener on an own address", "[::]:3128", lan, 3128, true, destination.ReasonSelf},
		{"a wildcard listener on an own IPv6 address", "[::]:3128", public6, 3128, true, destination.ReasonSelf},
		{"an IPv4 wildcard listener", "0.0.0.0:3128", lan, 3128, true, destination.ReasonSelf},
		{"a wildcard listener anywhere in 127/8", "[::]:3128", "127.9.9.9", 3128, true, destination.ReasonSelf},
		{"a wildcard listener by ::1", "[::]:3128", "::1", 3128, true, destination.ReasonSelf},
		{"a wildcard listener by 0.0.0.0", "[::]:3128", "0.0.0.0", 3128, true, destination.ReasonSelf},
		{"a wildcard listener by ::", "0.0.0.0:3128", "::", 3128, true, destination.ReasonSelf},
		{"a wildcard listener through NAT64", "[::]:3128", "64:ff9b::" + lan, 3128, true, destination.ReasonSelf},
		{"a wildcard listener through local NAT64", "[::]:3128", "64:ff9b:1::" + lan, 3128, true, destination.ReasonSelf},
		{"a wildcard listener is not on other machines", "[::]:3128", "192.168.7.8", 3128, true, ""},
		{"a mapped listener", "[::ffff:192.168.7.7]:3128", lan, 3128, true, destination.ReasonSelf},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			d := dialer(nil)
			d.Box.Interfaces = func() ([]netip.Addr, error) {
				return []netip.Addr{
					netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1"), netip.MustParseAddr("fe80::1%eth0"),
					netip.MustParseAddr("::ffff:" + public), netip.MustParseAddr(public6), netip.MustParseAddr(lan),
				}, nil
			}
			d.Box.Listeners = func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort(tc.listener)} }
			if got := judged(d, tc.addr, tc.port, tc.private); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestBoxKnowsItsOwnAddresses(t *testing.T) {
	var failure error
	newBox := func() *destination.Box {
		return &destination.Box{Clock: fakeclock.New(time.Unix(1e9, 0)), Interfaces: func() ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("192.168.7.7"), netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("2606:2800::7")}, failure
		}}
	}
	box := newBox()
	for _, tc := range []struct {
		rule, addr string
		own        bool
	}{
		{"an interface's", "192.168.7.7", true},
		{"the same in IPv6's form", "::ffff:192.168.7.7", true},
		{"an interface's by IPv6", "2606:2800::7", true},
		{"a link's own, whichever the zone", "fe80::1%eth1", true},
		{"all of 127.0.0.0/8", "127.9.9.9", true},
		{"the loopback of IPv6", "::1", true},
		{"another machine's", "192.168.7.8", false},
	} {
		if got := box.Own(netip.MustParseAddr(tc.addr)); got != tc.own {
			t.Errorf("%s: %t", tc.rule, got)
		}
	}
	failure = errors.New("netlink")
	box = newBox()
	if box.Own(netip.MustParseAddr("192.168.7.7")) || !box.Own(netip.MustParseAddr("127.0.0.1")) {
		t.Error("of addresses that cannot be read the loopback ones alone are its own")
	}
}

func TestDialRefusesTheRelay(t *testing.T) {
	port := origin(t, "127.0.0.2:0")
	d := dialer(nil)
	d.Box.Listeners = func() []netip.AddrPort {
		return []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), port)}
	}
	_, err := d.Dial(budget(t), private, host(t, "127.0.0.2"), port)
	refused(t, err, destination.ReasonSelf)
}

func TestBoxReadsInterfacesSeldom(t *testing.T) {
	clock := fakeclock.New(time.Unix(1e9, 0))
	d := dialer(nil)
	reads, failure := 0, errors.New("netlink: too many open files")
	own := "93.184.215.14"
	d.Box = &destination.Box{Clock: clock, Interfaces: func() ([]netip.Addr, error) {
		reads++
		return []netip.Addr{netip.MustParseAddr(own)}, failure
	}}
	check := func(step, addr string, want mfpgate.Reason, wantReads int) {
		t.Helper()
		if got := judged(d, addr, 443, false); got != want || reads != wantReads {
			t.Errorf("%s: %q after %d reads, want %q after %d", step, got, reads, want, wantReads)
		}
	}
	check("never read: nothing can be excluded, so all is refused", "8.8.8.8", destination.ReasonInterfaces, 1)
	failure = nil
	check("tried again at once", own, destination.ReasonOwn, 2)
	old := own
	own = "93.184.215.15"
	clock.Advance(5*time.Second - 1)
	check("not yet 5 s later: still the old list", own, "", 2)
	clock.Advance(1)
	check("5 s later: read anew", own, destination.ReasonOwn, 3)
	check("the old address is another's now", old, "", 3)
	failure = errors.New("netlink")
	clock.Advance(time.Minute)
	check("the last list holds while there is no newer", own, destination.ReasonOwn, 4)
	check("and is not asked for at every turn", own, destination.ReasonOwn, 4)
}
