package snmp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/gosnmp/gosnmp"

	"github.com/mfpgate/mfpgate"
)

// Scan asks every address of the prefixes, in random order and at the client's rate, and calls found for each printer,
// one call at a time. asked is how many addresses were sent a question.
//
// An address is asked one small GET in version 2c, and once more in version 1 if it is silent: an agent of version 1
// alone drops the first, any other takes the second as a repeat. With users configured there is an engine discovery of
// version 3 beside it, to which no user is needed. This costs one socket for all; only who answers is identified, over a
// socket of its own, Parallel at a time.
//
// Errors: ranges that CheckRanges refuses, a socket that cannot be opened, nothing that could be sent anywhere, or the
// context's; printers found until then have been told. One Scan runs at a time; another waits for it.
func (c *Client) Scan(ctx context.Context, prefixes []netip.Prefix, found func(mfpgate.Sighting)) (asked int, err error) {
	addrs, err := addresses(prefixes)
	if err != nil || len(addrs) == 0 {
		return 0, err
	}
	select {
	case c.scan <- struct{}{}:
		defer func() { <-c.scan }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	c.Rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	s := &survey{
		Client: c, ctx: ctx, addrs: addrs, answered: make([]bool, len(addrs)),
		base: firstID + c.Rand.Uint32N(firstID-MaxAddresses), hits: make(chan hit, len(addrs)),
	}
	if err := s.listen(); err != nil {
		return 0, err
	}

	var identifying, receiving sync.WaitGroup
	var telling sync.Mutex
	for range min(c.Parallel, len(addrs)) {
		identifying.Go(func() {
			for h := range s.hits {
				if seen, err := s.identify(h); err == nil {
					telling.Lock()
					found(seen)
					telling.Unlock()
				}
			}
		})
	}
	for _, conn := range s.conns {
		receiving.Go(func() { s.receive(conn) })
	}
	asked, err = s.ask()
	for _, conn := range s.conns {
		_ = conn.Close() // ends receive
	}
	receiving.Wait()
	close(s.hits)
	identifying.Wait()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return asked, err
}

// firstID is the first of the request ids that BER writes in four octets, so that one can be put in another's place.
const firstID = 0x40000000

// survey is one Scan.
type survey struct {
	*Client
	ctx   context.Context
	addrs []netip.Addr
	conns map[bool]*net.UDPConn // by whether it is for IPv6
	base  uint32                // the request id of addrs[0]; that of addrs[i] is base+i

	mu       sync.Mutex
	answered []bool
	hits     chan hit // has room for all: each address comes once
}

// hit is an agent that answered.
type hit struct {
	addr      netip.Addr
	community string // that it answered to; empty with version 3
}

func (s *survey) listen() error {
	s.conns = map[bool]*net.UDPConn{}
	for _, addr := range s.addrs {
		six := addr.Is6()
		if s.conns[six] != nil {
			continue
		}
		network := "udp4"
		if six {
			network = "udp6"
		}
		conn, err := net.ListenUDP(network, nil)
		if err != nil {
			for _, open := range s.conns {
				_ = open.Close()
			}
			return fmt.Errorf("open a socket for the scan: %w", err)
		}
		s.conns[six] = conn
	}
	return nil
}

// question is a packet with a place for the id.
type question struct {
	packet []byte
	at     int
}

func newQuestion(p *gosnmp.SnmpPacket) (question, error) {
	p.RequestID, p.MsgID = firstID+0x010203, firstID+0x010203
	raw, err := p.MarshalMsg()
	if err != nil {
		return question{}, fmt.Errorf("encode the first question: %w", err)
	}
	for i := 0; i+6 <= len(raw); i++ { // the first such integer is the one: version and community are before it
		if string(raw[i:i+6]) == "\x02\x04\x40\x01\x02\x03" {
			return question{raw, i + 2}, nil
		}
	}
	return question{}, errors.New("encode the first question: no id in it")
}

// questions are what a silent address is asked in one round.
func (s *survey) questions(version gosnmp.SnmpVersion) ([]question, error) {
	var packets []*gosnmp.SnmpPacket
	if len(s.Users) > 0 {
		packets = append(packets, &gosnmp.SnmpPacket{
			Version: gosnmp.Version3, MsgFlags: gosnmp.Reportable, SecurityModel: gosnmp.UserSecurityModel,
			SecurityParameters: &gosnmp.UsmSecurityParameters{}, PDUType: gosnmp.GetRequest,
		})
	}
	for _, community := range s.Communities {
		packets = append(packets, &gosnmp.SnmpPacket{
			Version: version, Community: community, PDUType: gosnmp.GetRequest,
			Variables: []gosnmp.SnmpPDU{{Name: oidSysObjectID, Type: gosnmp.Null}, {Name: oidDeviceType1, Type: gosnmp.Null}},
		})
	}
	all := make([]question, len(packets))
	for i, p := range packets {
		var err error
		if all[i], err = newQuestion(p); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// ask sends both rounds and waits for the answers to each.
func (s *survey) ask() (asked int, err error) {
	reached := make([]bool, len(s.addrs))
	turns := 0
	for _, version := range []gosnmp.SnmpVersion{gosnmp.Version2c, gosnmp.Version1} {
		questions, qerr := s.questions(version)
		if qerr != nil {
			return asked, qerr
		}
		for i, addr := range s.addrs {
			if s.hasAnswered(i) {
				continue
			}
			for _, q := range questions {
				if turns == 0 {
					if turns, err = s.turns(); err != nil {
						return asked, err
					}
				}
				turns--
				id := s.base + uint32(i)
				q.packet[q.at], q.packet[q.at+1], q.packet[q.at+2], q.packet[q.at+3] = byte(id>>24), byte(id>>16), byte(id>>8), byte(id)
				if _, serr := s.conns[addr.Is6()].WriteToUDPAddrPort(q.packet, netip.AddrPortFrom(addr, s.Port)); serr != nil {
					err = serr // no route, no buffer: the next round, or the next scan, comes by again
					continue
				}
				s.Sent()
				if !reached[i] {
					reached[i] = true
					asked++
				}
			}
		}
		if werr := mfpgate.Wait(s.ctx, s.Clock, min(s.Timeout, time.Second)); werr != nil {
			return asked, werr
		}
	}
	if asked > 0 {
		return asked, nil
	}
	return 0, fmt.Errorf("ask: %w", err)
}

// turns waits until a burst of packets may be sent, and returns how many: waking up once for each would cost more than
// sending it.
func (s *survey) turns() (int, error) {
	n := s.limit.Burst()
	now := s.Clock.Now()
	if wait := s.limit.ReserveN(now, n).DelayFrom(now); wait > 0 {
		return n, mfpgate.Wait(s.ctx, s.Clock, wait)
	}
	return n, s.ctx.Err()
}

func (s *survey) hasAnswered(i int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answered[i]
}

// receive sorts the answers until the socket is closed.
func (s *survey) receive(conn *net.UDPConn) {
	buffer := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return // closed: Linux tells an unconnected socket of nothing else
		}
		id, community, ok := decode(buffer[:n])
		i := id - s.base // below the base it wraps around to something great
		if !ok || i >= uint32(len(s.addrs)) || from.Port() != s.Port || from.Addr().Unmap().WithZone("") != s.addrs[i].WithZone("") {
			continue
		}
		s.mu.Lock()
		again := s.answered[i]
		s.answered[i] = true
		s.mu.Unlock()
		if !again {
			s.hits <- hit{s.addrs[i], community}
		}
	}
}

// decode is the id and the community of an answer, ok if it is one. An error status is an answer, too.
func decode(packet []byte) (id uint32, community string, ok bool) {
	defer func() {
		if recover() != nil { // the library recovers from its decoder's panics, but not on this way into it
			ok = false
		}
	}()
	p, err := (&gosnmp.GoSNMP{Version: gosnmp.Version2c}).SnmpDecodePacket(packet)
	switch {
	case err != nil:
		return 0, "", false
	case p.Version == gosnmp.Version3:
		return p.MsgID, "", p.PDUType == gosnmp.Report
	}
	return p.RequestID, p.Community, p.PDUType == gosnmp.GetResponse
}

// identify asks one that answered who it is, first in the ways that its answer hints at. Users stay before communities,
// whatever was quicker to answer.
func (s *survey) identify(h hit) (mfpgate.Sighting, error) {
	if _, known := s.memory.get(h.addr); known {
		return s.Identify(s.ctx, h.addr)
	}
	one := s.newSession(s.ctx, h.addr)
	defer one.close()
	err := one.probe(func(w way) bool { return w.version == gosnmp.Version3 || w.community == h.community })
	if err != nil {
		return mfpgate.Sighting{}, err
	}
	return one.identify()
}
