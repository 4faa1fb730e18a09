package endpoint_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/usb/endpoint"
)

// The tables are as Linux writes them (proc_net_tcp(5)): the server's own end is in them as well, and of sockets that their process has
// closed it says uid 0.
func TestWhoseSocketItIs(t *testing.T) {
	const header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	const server = "   0: 0100007F:EE48 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 11111 1 0000000000000000 20 4 30 10 -1\n"
	for _, c := range []struct {
		rule, line string
		uid        int
		found      bool
	}{
		{"an established connection is its user's", "   1: 0100007F:C350 0100007F:EE48 01 00000000:00000000 00:00000000 00000000  1000        0 22222 1 0000000000000000 20 4 30 10 -1\n", 1000, true},
		{"a socket that was closed is nobody's", "   1: 0100007F:C350 0100007F:EE48 05 00000000:00000000 00:00000000 00000000     0        0 0 3 0000000000000000\n", 0, false},
		{"nor is one that waits for its end", "   1: 0100007F:C350 0100007F:EE48 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0000000000000000\n", 0, false},
		{"nor one with data left to send", "   1: 0100007F:C350 0100007F:EE48 01 00000000:00000000 00:00000000 00000000     0        0 0 1 0000000000000000 20 4 30 10 -1\n", 0, false},
		{"nor one that was shut down", "   1: 0100007F:C350 0100007F:EE48 04 00000000:00000000 00:00000000 00000000  1000        0 22222 1 0000000000000000\n", 0, false},
		{"another port's is another", "   1: 0100007F:C351 0100007F:EE48 01 00000000:00000000 00:00000000 00000000  1000        0 22222 1 0000000000000000 20 4 30 10 -1\n", 0, false},
		{"another destination's is another", "   1: 0100007F:C350 0100007F:EE49 01 00000000:00000000 00:00000000 00000000  1000        0 22222 1 0000000000000000 20 4 30 10 -1\n", 0, false},
		{"a table that is cut says nothing", "   1: 0100007F:C350 0100007F:EE48 01 00000000:0000", 0, false},
	} {
		uid, found := endpoint.Owner(strings.NewReader(header+server+c.line), "0100007F:C350", "0100007F:EE48")
		if uid != c.uid || found != c.found {
			t.Errorf("%s: %d %v, want %d %v", c.rule, uid, found, c.uid, c.found)
		}
	}
}

// TestANetworkOfIPv6IsOneHost: whoever has one has 2^64 addresses.
func TestANetworkOfIPv6IsOneHost(t *testing.T) {
	within, apart := make([]netip.Addr, 100), make([]netip.Addr, 100)
	for i := range within {
		within[i], apart[i] = netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)), netip.MustParseAddr(fmt.Sprintf("2001:db8:0:%x::1", i))
	}
	if one, many := endpoint.LetIn(within...), endpoint.LetIn(apart...); one != 32 || many != 64 {
		t.Errorf("of one network come in %d, of many %d; want 32 and 64", one, many)
	}
}
