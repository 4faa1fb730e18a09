package destination_test

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/destination"
)

// The servers that the configuration names are asked, and the next one where the first does not help.
func TestResolverOfServers(t *testing.T) {
	at := func(s *nameserver) netip.AddrPort { return s.conn.LocalAddr().(*net.UDPAddr).AddrPort() }
	gone, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := gone.LocalAddr().(*net.UDPAddr).AddrPort()
	_ = gone.Close()
	for _, tt := range []struct {
		rule  string
		first func(t *testing.T) netip.AddrPort
	}{
		{"the first is asked", func(t *testing.T) netip.AddrPort { return at(serveDNS(t, always("127.0.0.1"))) }},
		{"a silent server is passed over", func(t *testing.T) netip.AddrPort {
			return at(serveDNS(t, func(string, int) ([]string, dnsmessage.RCode, bool) { return nil, 0, false }))
		}},
		{"a server that is not there is passed over", func(*testing.T) netip.AddrPort { return nobody }},
		{"a server that fails is passed over", func(t *testing.T) netip.AddrPort {
			return at(serveDNS(t, func(string, int) ([]string, dnsmessage.RCode, bool) { return nil, dnsmessage.RCodeServerFailure, true }))
		}},
		{"a server that refuses is passed over", func(t *testing.T) netip.AddrPort {
			return at(serveDNS(t, func(string, int) ([]string, dnsmessage.RCode, bool) { return nil, dnsmessage.RCodeRefused, true }))
		}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			second := serveDNS(t, always("127.0.0.1"))
			port := origin(t, "127.0.0.1:0")
			host, err := mfpgate.ParseHost("us.cloud.test")
			if err != nil {
				t.Fatal(err)
			}
			d := dialer(nil)
			first := tt.first(t)
			d.Resolver = destination.ResolverOf([]netip.AddrPort{first, at(second)})
			for range 2 { // the second time without a detour
				conn, err := d.Dial(budget(t), mfpgate.AllowRule{Private: true}, host, port)
				if err != nil {
					t.Fatal(err)
				}
				_ = conn.Close()
			}
			if asked := second.queries.Load() > 0; asked != (tt.rule != "the first is asked") {
				t.Errorf("whether the second server is asked: %v", asked)
			}
		})
	}
}
