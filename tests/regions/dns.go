package regions

import (
	"net"
	"net/netip"
	"sync"

	"github.com/miekg/dns"
)

// Names is a DNS server that knows a few names.
type Names struct {
	Address string // of the server, UDP and TCP

	mu    sync.Mutex
	known map[string]netip.Addr // by name, fully qualified
	stop  []*dns.Server
}

// openNames serves on a free port of a loopback address.
func openNames(at string) (*Names, error) {
	n := &Names{known: map[string]netip.Addr{}}
	packets, err := net.ListenPacket("udp", net.JoinHostPort(at, "0"))
	if err != nil {
		return nil, err
	}
	n.Address = packets.LocalAddr().String()
	streams, err := net.Listen("tcp", n.Address)
	if err != nil {
		_ = packets.Close()
		return nil, err
	}
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: n}, {Listener: streams, Handler: n}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		n.stop = append(n.stop, s)
		go func() { _ = s.ActivateAndServe() }() // ends with close
		<-started
	}
	return n, nil
}

// Add makes a name known, or known anew.
func (n *Names) Add(name, address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known[dns.Fqdn(name)] = netip.MustParseAddr(address)
}

// ServeDNS answers with the address of a name that is known; of another name that it does not exist.
func (n *Names) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	a := new(dns.Msg).SetReply(q)
	n.mu.Lock()
	addr, known := n.known[dns.CanonicalName(q.Question[0].Name)]
	n.mu.Unlock()
	switch {
	case !known:
		a.Rcode = dns.RcodeNameError
	case q.Question[0].Qtype == dns.TypeA:
		a.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: addr.AsSlice()}}
	}
	_ = w.WriteMsg(a)
}

func (n *Names) close() {
	for _, s := range n.stop {
		_ = s.Shutdown()
	}
}
