package printer

import (
	"net/netip"
	"strings"

	"github.com/OpenPrinting/goipp"
	"github.com/gosnmp/gosnmp"
	"github.com/miekg/dns"

	"github.com/mfpgate/mfpgate"
)

// AnswerSNMP is the agent without its socket.
func AnswerSNMP(s *Site, p *Printer, packet []byte) []byte {
	return s.answerSNMP(&gosnmp.GoSNMP{}, p.view(), packet)
}

// AnswerDNS is the responder without its sockets and delays.
func AnswerDNS(s *Site, packet []byte) []*dns.Msg {
	var m dns.Msg
	if m.Unpack(packet) != nil || len(m.Question) > maxQuestions {
		return nil
	}
	r := s.mdns
	if p := r.gather(&m, netip.AddrPort{}); p != nil {
		units, _ := r.answers(p.questions, p.known)
		return pack(units, r.o.PacketSize)
	}
	return nil
}

// Idle says that nothing is on the agenda.
func Idle(s *Site) bool {
	s.mdns.mu.Lock()
	queued := len(s.mdns.queue)
	s.mdns.mu.Unlock()
	s.agenda.mu.Lock()
	defer s.agenda.mu.Unlock()
	return queued+len(s.agenda.items) == 0
}

// Escape and Label make DNS names.
var (
	Escape = escape
	Label  = label
)

// Conditions has every reason that the tests walk through.
func Conditions() (all []string) {
	for keyword := range conditions {
		all = append(all, keyword)
	}
	return all
}

// Seen is what a person would see of a printer.
type Seen struct {
	State       mfpgate.PrinterState
	Reasons     []string
	Impressions int
}

// Look looks at it.
func Look(p *Printer) Seen {
	v := p.view()
	return Seen{v.state, v.reasons, int(v.counters[Impressions])}
}

// AnswerIPP is the printer without HTTP; nil for what is no IPP.
func AnswerIPP(p *Printer, packet []byte) *goipp.Message {
	var m goipp.Message
	if m.DecodeBytesEx(packet, goipp.DecoderOptions{EnableWorkarounds: true}) != nil {
		return nil
	}
	return answerIPP(p.view(), &m)
}

// HostOf is a printer's name as a host, without the final dot.
func HostOf(p *Printer) string { return strings.TrimSuffix(p.view().host(), ".") }
