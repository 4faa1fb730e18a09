package printer

import (
	"errors"
	"net"
	"net/netip"

	"github.com/gosnmp/gosnmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Sizes of SNMP messages in bytes: what a request may have, and what an answer grows to (what fits an Ethernet frame).
const (
	maxSNMPRequest = 1472
	maxSNMPAnswer  = 1472
)

// agent answers SNMP at one socket, from the address that was asked (IP_PKTINFO).
type agent struct {
	site  *Site
	conn  *net.UDPConn
	read  func([]byte) (n int, asked netip.Addr, peer net.Addr, err error)
	write func(data []byte, from netip.Addr, peer net.Addr) error
}

func newAgent(s *Site, conn *net.UDPConn, v6 bool) (*agent, error) {
	a := &agent{site: s, conn: conn}
	if v6 {
		pc := ipv6.NewPacketConn(conn)
		a.read = func(b []byte) (int, netip.Addr, net.Addr, error) {
			n, cm, peer, err := pc.ReadFrom(b)
			if err != nil || cm == nil {
				return n, netip.Addr{}, peer, err
			}
			asked, _ := netip.AddrFromSlice(cm.Dst)
			return n, asked, peer, nil
		}
		a.write = func(b []byte, from netip.Addr, peer net.Addr) error {
			_, err := pc.WriteTo(b, &ipv6.ControlMessage{Src: from.AsSlice()}, peer)
			return err
		}
		return a, pc.SetControlMessage(ipv6.FlagDst, true)
	}
	pc := ipv4.NewPacketConn(conn)
	a.read = func(b []byte) (int, netip.Addr, net.Addr, error) {
		n, cm, peer, err := pc.ReadFrom(b)
		if err != nil || cm == nil {
			return n, netip.Addr{}, peer, err
		}
		asked, _ := netip.AddrFromSlice(cm.Dst)
		return n, asked.Unmap(), peer, nil
	}
	a.write = func(b []byte, from netip.Addr, peer net.Addr) error {
		_, err := pc.WriteTo(b, &ipv4.ControlMessage{Src: from.AsSlice()}, peer)
		return err
	}
	return a, pc.SetControlMessage(ipv4.FlagDst, true)
}

func (a *agent) run() {
	buffer := make([]byte, maxSNMPRequest+1)
	codec := &gosnmp.GoSNMP{}
	for {
		n, asked, peer, err := a.read(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		p := a.site.at(asked)
		if err != nil || p == nil || n > maxSNMPRequest {
			continue
		}
		v := p.view()
		if v.power != on || v.o.NoSNMP {
			p.unanswered()
			continue
		}
		v.asked = asked
		p.stats.snmp.Add(1)
		a.site.stats.snmp.Add(1)
		if answer := a.site.answerSNMP(codec, v, buffer[:n]); answer != nil {
			_ = a.write(answer, asked, peer) // lost, as UDP may be
		}
	}
}

// answerSNMP returns nil where an agent keeps silent: to what is no request, and to another community (RFC 1157 §4.1).
func (s *Site) answerSNMP(codec *gosnmp.GoSNMP, v *view, packet []byte) []byte {
	if !plainVersion(packet) {
		return nil
	}
	request, err := codec.SnmpDecodePacket(packet)
	if err != nil || request.Community != s.o.Community {
		return nil
	}
	m := s.mibs.of(v)
	answer := &gosnmp.SnmpPacket{Version: request.Version, Community: request.Community, PDUType: gosnmp.GetResponse, RequestID: request.RequestID}
	switch {
	case request.PDUType == gosnmp.GetRequest || request.PDUType == gosnmp.GetNextRequest:
		next := request.PDUType == gosnmp.GetNextRequest
		for i, asked := range request.Variables {
			variable, found := m.look(v, asked.Name, next, request.Version)
			if !found && request.Version == gosnmp.Version1 {
				return refuseSNMP(answer, request, gosnmp.NoSuchName, i)
			}
			answer.Variables = append(answer.Variables, variable)
		}
	case request.PDUType == gosnmp.GetBulkRequest && request.Version == gosnmp.Version2c:
		answer.Variables = m.bulk(v, request)
	case request.PDUType == gosnmp.SetRequest && request.Version == gosnmp.Version1:
		return refuseSNMP(answer, request, gosnmp.ReadOnly, 0)
	case request.PDUType == gosnmp.SetRequest:
		return refuseSNMP(answer, request, gosnmp.NotWritable, 0)
	default:
		return nil
	}
	data, err := answer.MarshalMsg()
	if err != nil || len(data) > maxSNMPAnswer {
		answer.Variables = nil
		answer.Error = gosnmp.TooBig
		if data, err = answer.MarshalMsg(); err != nil {
			return nil
		}
	}
	return data
}

// refuseSNMP names the variable at fault and returns the others as they came (RFC 1157 §4.1.2).
func refuseSNMP(answer, request *gosnmp.SnmpPacket, why gosnmp.SNMPError, at int) []byte {
	answer.Error, answer.ErrorIndex = why, uint8(min(at+1, 255))
	for _, asked := range request.Variables {
		answer.Variables = append(answer.Variables, gosnmp.SnmpPDU{Name: asked.Name, Type: gosnmp.Null})
	}
	data, err := answer.MarshalMsg()
	if err != nil || len(data) > maxSNMPAnswer {
		return nil
	}
	return data
}

// plainVersion lets only v1 and v2c through to the codec: a sequence that begins with the INTEGER 0 or 1.
func plainVersion(packet []byte) bool {
	at := 2
	if len(packet) > 1 && packet[1]&0x80 != 0 {
		at += int(packet[1] & 0x7f)
	}
	return len(packet) > at+2 && packet[0] == 0x30 && packet[at] == 2 && packet[at+1] == 1 && packet[at+2] <= 1
}
