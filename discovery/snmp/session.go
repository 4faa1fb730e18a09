package snmp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/gosnmp/gosnmp"
)

// defaultFits is how many variables are asked for in one answer, until an agent says that it is too much: about the size
// of one Ethernet frame.
const defaultFits = 32

// session is one conversation with one agent, over a connected socket: the kernel drops what comes from elsewhere, and
// tells of a closed port or a host that is not there.
type session struct {
	*Client
	ctx    context.Context
	addr   netip.Addr
	know   knowledge
	agent  *gosnmp.GoSNMP
	end    func() bool // stops watching ctx for this socket
	over   func()      // releases ctx
	fresh  bool        // the agent has answered since open
	system string      // sysObjectID, if the first question was asked since open
	first  bool        // the device with index 1 is a printer, by the same question
}

// newSession is one that ends with ctx, or after MaxSession: an agent that answers each question at the last moment must
// not keep a scan from its end.
func (c *Client) newSession(ctx context.Context, addr netip.Addr) *session {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := c.Clock.AfterFunc(MaxSession, func() { cancel(ErrSilent) })
	return &session{Client: c, ctx: ctx, addr: addr, over: func() { stop(); cancel(nil) }}
}

// open begins a session in the way that is remembered, else in the first way that the agent answers. The caller closes it
// in either case.
func (c *Client) open(ctx context.Context, addr netip.Addr) (*session, error) {
	s := c.newSession(ctx, addr)
	if know, ok := c.memory.get(addr); ok && know.way < len(c.ways) {
		s.know = know
		return s, s.connect(know.way)
	}
	return s, s.probe(nil)
}

// probe asks the first question in every way, repeats included, until one is answered. Ways that are hinted at go first.
func (s *session) probe(hint func(way) bool) error {
	order := make([]int, 0, len(s.ways))
	for _, hinted := range []bool{true, false} {
		for i, w := range s.ways {
			if (hint != nil && hint(w)) == hinted {
				order = append(order, i)
			}
		}
	}
	var refused error
	for range s.Retries + 1 {
		mute := false // version 3 is not spoken here: the answer to the engine's discovery needs no user
		for _, i := range order {
			if mute && s.ways[i].version == gosnmp.Version3 {
				continue
			}
			err := s.ask(i)
			switch {
			case err == nil:
				return nil
			case s.ctx.Err() != nil:
				return err
			case errors.Is(err, ErrCredentials):
				refused = err
			case errors.Is(err, ErrSilent):
				usm := s.usm()
				mute = mute || usm != nil && usm.AuthoritativeEngineID == ""
			case errors.Is(err, errMalformed):
			default:
				return err // the network's or the context's: no other way helps
			}
		}
	}
	if refused != nil {
		return refused
	}
	return fmt.Errorf("%s: %w", s.addr, ErrSilent)
}

// ask puts the first question in one way.
func (s *session) ask(i int) error {
	s.hangUp()
	s.know = knowledge{fits: defaultFits}
	if err := s.connect(i); err != nil {
		return err
	}
	s.agent.Retries = 0
	answer, err := s.exchange(func() (*gosnmp.SnmpPacket, error) { return s.agent.Get([]string{oidSysObjectID, oidDeviceType1}) })
	if err != nil {
		return err
	}
	s.agent.Retries = s.Retries
	s.fresh = true
	for _, v := range answer.Variables {
		text, _ := v.Value.(string)
		switch {
		case v.Type != gosnmp.ObjectIdentifier:
		case v.Name == oidSysObjectID:
			s.system = text
		case v.Name == oidDeviceType1:
			s.first = text == oidTypePrinter
		}
	}
	return nil
}

func (s *session) connect(i int) error {
	w := s.ways[i]
	s.know.way = i
	agent := &gosnmp.GoSNMP{
		Target: s.addr.String(), Port: s.Port, Version: w.version, Community: w.community,
		Context: s.ctx, Timeout: s.Timeout, Retries: s.Retries, MaxOids: 2 * defaultFits, PreSend: s.paced,
	}
	if w.version == gosnmp.Version3 {
		usm, err := s.Users[w.user].parameters()
		if err != nil {
			return err
		}
		if s.know.usm != nil { // the engine and the keys are known: no discovery
			usm = s.know.usm.Copy().(*gosnmp.UsmSecurityParameters)
			usm.AuthoritativeEngineTime += uint32(s.Clock.Now().Sub(s.know.usmRead) / time.Second)
		}
		agent.SecurityModel, agent.SecurityParameters, agent.MsgFlags = gosnmp.UserSecurityModel, usm, level(usm)
		agent.ContextName, agent.ContextEngineID = s.Users[w.user].ContextName, usm.AuthoritativeEngineID
	}
	if err := agent.Connect(); err != nil {
		if s.ctx.Err() != nil {
			err = context.Cause(s.ctx)
		}
		return fmt.Errorf("%s: %w", s.addr, err)
	}
	s.agent = agent
	// The library looks at the context only between attempts. The end may come while hangUp closes the agent, which drops its
	// Conn: this one is harmless when it is closed.
	conn := agent.Conn
	s.end = context.AfterFunc(s.ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return nil
}

// paced runs before each packet. The time that it waits for its turn is not the agent's, so the deadline begins anew.
func (s *session) paced(agent *gosnmp.GoSNMP) {
	err := s.turn(s.ctx)
	deadline := s.Clock.Now().Add(agent.Timeout)
	if end, ok := s.ctx.Deadline(); ok && end.Before(deadline) {
		deadline = end
	}
	if err != nil {
		deadline = time.Unix(1, 0)
	}
	_ = agent.Conn.SetDeadline(deadline) // the socket is open: it fails only after Close
}

// usm are the parameters of version 3 in their present state, nil in other versions.
func (s *session) usm() *gosnmp.UsmSecurityParameters {
	if s.agent == nil || s.agent.Version != gosnmp.Version3 {
		return nil
	}
	p, _ := s.agent.SecurityParameters.(*gosnmp.UsmSecurityParameters)
	return p
}

// close ends the session.
func (s *session) close() {
	s.hangUp()
	s.over()
}

// hangUp closes the socket and remembers what was learnt, if the agent answered.
func (s *session) hangUp() {
	if s.agent == nil {
		return
	}
	s.end()
	if s.fresh {
		if p := s.usm(); p != nil {
			s.know.usm, s.know.usmRead = p.Copy().(*gosnmp.UsmSecurityParameters), s.Clock.Now()
		}
		s.memory.put(s.addr, s.know)
	}
	_ = s.agent.Close() // a UDP socket has nothing left to say
	s.agent = nil
}

// errMalformed is an answer that could not be read.
var errMalformed = errors.New("malformed answer")

// exchange puts one request and says in this package's terms how it went.
func (s *session) exchange(request func() (*gosnmp.SnmpPacket, error)) (*gosnmp.SnmpPacket, error) {
	answer, err := request()
	if err == nil && answer.PDUType != gosnmp.GetResponse {
		err = fmt.Errorf("%w: a PDU of type %#x", errMalformed, byte(answer.PDUType))
	}
	if err == nil && answer.Error == gosnmp.AuthorizationError { // known, and allowed nothing at this level (RFC 3413 §3.2)
		err = ErrCredentials
	}
	if err == nil {
		s.fresh = true
		return answer, nil
	}
	var timeout interface{ Timeout() bool }
	usm := s.usm()
	switch {
	case s.ctx.Err() != nil:
		err = context.Cause(s.ctx)
	case errors.Is(err, gosnmp.ErrMaxRetriesExceeded), errors.As(err, &timeout) && timeout.Timeout():
		err = ErrSilent
	case isNetwork(err), errors.Is(err, errMalformed), errors.Is(err, ErrCredentials):
	case usm != nil && usm.AuthoritativeEngineID != "":
		// The agent told its engine, and then nothing that the user's keys make sense of: an unknown user, a wrong
		// password, a level that it does not allow.
		err = ErrCredentials
	default:
		// The library's text may hold a whole packet, or a stack; neither helps anybody here.
		err = errMalformed
	}
	if errors.Is(err, ErrSilent) || errors.Is(err, ErrCredentials) {
		s.memory.drop(s.addr) // another way may help: the next session looks for it
		s.fresh = false
	}
	return nil, fmt.Errorf("%s: %w", s.addr, err)
}
