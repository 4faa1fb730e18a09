package doctor_test

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/daemon/doctor"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
	"github.com/mfpgate/mfpgate/usb/endpoint/dnssd"
)

// link is an interface with its addresses.
func link(name string, addresses ...string) dnssd.Interface {
	i := dnssd.Interface{Interface: net.Interface{Name: name}}
	for _, a := range addresses {
		i.Prefixes = append(i.Prefixes, netip.MustParsePrefix(a))
	}
	return i
}

func TestWhetherTheNetworkIsToldOfPrinters(t *testing.T) {
	const silent = "usb.share is lan, and nobody is told of the printers: "
	lan, local := "usb: {enabled: true, share: lan}\n", "usb: {enabled: true, share: local}\n"
	for _, tc := range []struct {
		rule  string
		more  string
		links []dnssd.Interface
		err   error
		want  []doctor.Finding
	}{
		{"an address in relay.clients, among others", lan, []dnssd.Interface{link("eth0", "192.168.7.7/24"), link("eth1", "fe80::1/64", "10.1.0.5/16")}, nil, nil},
		{"none in them", lan, []dnssd.Interface{link("eth0", "192.168.7.7/24", "fe80::1/64"), link("eth1", "2606:2800::7/64")}, nil, []doctor.Finding{{Result: doctor.Warning,
			Detail: silent + "relay.clients has none of this machine's addresses, which are 192.168.7.7/24 on eth0, 2606:2800::7/64 on eth1",
			Fix: "add the network that is to print to relay.clients in FILE, and systemctl reload mfpgate: it may use the relay then, too; " +
				"clients on other networks have to be given the printer's address by hand"}}},
		{"no network", lan, []dnssd.Interface{link("eth0", "fe80::1/64"), link("eth1")}, nil, []doctor.Finding{{Result: doctor.Warning,
			Detail: silent + "this machine has no address on a network that carries multicast", Fix: "connect it to one; `ip address` shows what it has"}}},
		{"networks that cannot be listed", lan, nil, errors.New("netlink"), []doctor.Finding{{Result: doctor.Failed,
			Detail: "whether the network is told of the printers: netlink", Fix: "look where `ip address` works, which asks the kernel the same"}}},
		{"nobody is to be told", local, nil, errors.New("netlink"), nil},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			for _, runs := range []bool{false, true} {
				m := newMachine(t, tc.more)
				m.o.Links = func() ([]dnssd.Interface, error) { return tc.links, tc.err }
				if runs {
					m.serve(portaltest.Idle())
				}
				want := []doctor.Finding{{Result: doctor.Warning, Detail: "no printer is plugged in", Fix: "plug one in and switch it on; lsusb lists what the kernel sees"}}
				for _, f := range tc.want {
					f.Fix = strings.ReplaceAll(f.Fix, "FILE", m.o.ConfigFile)
					want = append(want, f)
				}
				if diff := cmp.Diff(want, m.of("usb")); diff != "" {
					t.Errorf("while the daemon runs: %t (-want +got):\n%s", runs, diff)
				}
			}
		})
	}
}
