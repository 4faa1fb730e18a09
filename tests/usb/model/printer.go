package model

import (
	"context"
	"slices"
	"sync"
)

// Layout is a kind of printer by its descriptors.
type Layout string

// The layouts.
const (
	// Composite has a raw port, 7/1/2, on interface 0 and two IPP-USB pairs, 7/1/4, on interfaces 1 and 2.
	Composite Layout = "composite"
	// Alternates has one interface: setting 0 is 7/1/2 and setting 1 is 7/1/4, on the same endpoints.
	Alternates Layout = "alternates"
	// Pairs has three IPP-USB pairs and nothing else.
	Pairs Layout = "pairs"
	// HP is vendor 03f0's: a raw port, and two IPP-USB pairs of class 255/9/1.
	HP Layout = "hp"
	// Unidirectional is 7/1/1: an OUT endpoint alone.
	Unidirectional Layout = "unidirectional"
	// Bidirectional is 7/1/2 alone.
	Bidirectional Layout = "bidirectional"
)

// Layouts are all of them.
func Layouts() []Layout {
	return []Layout{Composite, Alternates, Pairs, HP, Unidirectional, Bidirectional}
}

// Options are what a printer is made of. What is left out is what NewPrinter has.
type Options struct {
	Layout      Layout
	VID, PID    uint16
	Make, Model string
	Serial      string // empty: none in its descriptor, its IEEE 1284 id and its IPP attributes
	ID          string // its IEEE 1284 id without the length; empty: made of the above
	IDForm      IDForm
	CommandSet  string // CMD of its id; empty: PJL,PCL,PDF,URF
	// Keep is how many bytes of each raw job are kept, from its beginning: 0 is 64 KiB. Digests are of all bytes.
	Keep int
	// NoPJL is a raw port that answers nothing and takes every byte for the document's.
	NoPJL bool
}

// Pair is the two endpoints of an interface.
type Pair struct {
	Out *Out
	In  *In
}

// Printer is a printer: a device, and what stands behind its endpoints.
type Printer struct {
	*Device
	RawOut *Out   // of its raw port, nil if it has none
	RawIn  *In    // the same; nil with Unidirectional
	Pairs  []Pair // of its IPP-USB interfaces
	Raw    *Raw   // what the raw port took, nil if it has none
	IPP    *IPP   // its IPP server, nil if it has none

	options Options

	mu   sync.Mutex
	code int   // PJL's code of what it shows
	port uint8 // GET_PORT_STATUS
}

// The port status's bits (USB printer class 1.1 §4.2.2).
const (
	PortPaperEmpty = 0x20
	PortSelected   = 0x10
	PortNoError    = 0x08
	PortReady      = PortSelected | PortNoError
)

// PJL's status codes that the model uses (HP's PJL Technical Reference Manual, appendix D).
const (
	CodeReady    = 10001
	CodePrinting = 10023
	CodePaperOut = 41002 // load paper into tray 1
	CodeOffline  = 10002
)

// NewPrinter returns a printer of the layout Composite.
func NewPrinter(serial string) *Printer { return New(Options{Serial: serial}) }

// New returns a printer. It works once a carrier has it.
func New(o Options) *Printer {
	if o.Layout == "" {
		o.Layout = Composite
	}
	if o.VID == 0 {
		o.VID, o.PID = 0x1209, 0x0001
		if o.Layout == HP {
			o.VID, o.PID = 0x03f0, 0xe911
		}
	}
	if o.Make == "" {
		o.Make, o.Model = "Rigworks", "Composite 100"
		if o.Layout == HP {
			o.Make, o.Model = "HP", "OfficeJet Pro 8730"
		}
	}
	if o.CommandSet == "" {
		o.CommandSet = "PJL,PCL,PDF,URF"
	}
	if o.Keep == 0 {
		o.Keep = 64 << 10
	}
	p := &Printer{options: o, code: CodeReady, port: PortReady}
	p.Device = &Device{VID: o.VID, PID: o.PID, BCD: 0x0100, Manufacturer: o.Make, Product: o.Model, Serial: o.Serial, Class: p.class, Dry: p.OutOfPaper}
	switch o.Layout {
	case Composite:
		p.raw(0, 2)
		p.ippusb(1, 0, 7, 1, 4)
		p.ippusb(2, 0, 7, 1, 4)
	case Alternates:
		p.raw(0, 2)
		p.ippusb(0, 1, 7, 1, 4)
	case Pairs:
		for n := range uint8(3) {
			p.ippusb(n, 0, 7, 1, 4)
		}
	case HP:
		p.raw(0, 2)
		p.ippusb(1, 0, 255, 9, 1)
		p.ippusb(2, 0, 255, 9, 1)
	case Unidirectional:
		p.raw(0, 1)
	case Bidirectional:
		p.raw(0, 2)
	default:
		panic("model: no layout " + string(o.Layout))
	}
	return p
}

// raw adds the raw port.
func (p *Printer) raw(number, proto uint8) {
	p.Raw = newRaw(p)
	p.RawOut = NewOut()
	i := Interface{Number: number, Class: 7, SubClass: 1, Proto: proto, Out: 1 + number, FromHost: p.RawOut, String: "Printer", Serve: p.Raw.serve}
	if proto != 1 {
		p.RawIn = NewIn()
		i.In, i.ToHost = 0x81+number, p.RawIn
	}
	p.Interfaces = append(p.Interfaces, i)
}

// ippusb adds an interface of the IPP server.
func (p *Printer) ippusb(number, alt, class, subClass, proto uint8) {
	if p.IPP == nil {
		p.IPP = newIPP(p)
	}
	pair := Pair{NewOut(), NewIn()}
	p.Pairs = append(p.Pairs, pair)
	p.Interfaces = append(p.Interfaces, Interface{Number: number, Alt: alt, Class: class, SubClass: subClass, Proto: proto,
		Out: 1 + number, In: 0x81 + number, FromHost: pair.Out, ToHost: pair.In, String: "IPP Printer",
		Serve: func(ctx context.Context) { p.IPP.serve(ctx, pair) }})
}

// The class requests (USB printer class 1.1 §4.2), and SOFT_RESET as version 1.0 had it, to "other".
func (p *Printer) class(s Setup, _ []byte) ([]byte, error) {
	const toInterface, fromInterface, toOther = 0x21, 0xA1, 0x23
	switch {
	case s.RequestType == fromInterface && s.Request == 0 && s.Value == 0:
		if _, ok := p.setting(uint8(s.Index>>8), uint8(s.Index)); !ok {
			return nil, ErrStall
		}
		return p.idAnswer()
	case s.RequestType == fromInterface && s.Request == 1 && s.Value == 0 && p.isPort(s.Index):
		p.mu.Lock()
		defer p.mu.Unlock()
		return []byte{p.port}, nil
	case (s.RequestType == toInterface || s.RequestType == toOther) && s.Request == 2 && s.Value == 0 && p.isPort(s.Index):
		p.softReset(uint8(s.Index))
		return nil, nil
	}
	return nil, ErrStall
}

// isPort reports whether a request's index is an interface's number, and nothing else.
func (p *Printer) isPort(index uint16) bool {
	return slices.ContainsFunc(p.Interfaces, func(i Interface) bool { return uint16(i.Number) == index })
}

// softReset empties the interface's endpoints, ends its halts and drops what was half done.
func (p *Printer) softReset(number uint8) {
	p.power.Lock()
	defer p.power.Unlock()
	if i, ok := p.setting(number, p.Alt(number)); ok {
		p.rework(i)
	}
}

// PortStatus sets the port status's bits.
func (p *Printer) PortStatus(bits uint8) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.port = bits
}

// OutOfPaper stops the printer until LoadPaper: its raw port NAKs, and it says so by port status, by PJL where the host has asked to be
// told, and by IPP, which goes on to answer.
func (p *Printer) OutOfPaper() {
	p.show(CodePaperOut, PortPaperEmpty)
	if p.RawOut != nil {
		p.RawOut.Pause()
	}
}

// LoadPaper ends OutOfPaper, and a fault PaperOut.
func (p *Printer) LoadPaper() {
	p.show(CodeReady, PortReady)
	if p.RawOut != nil {
		p.RawOut.Resume()
	}
	for _, pair := range p.Pairs {
		pair.Out.Resume()
	}
}

// show says what the printer is at, with PJL's code and the port status's bits.
func (p *Printer) show(code int, port uint8) {
	p.mu.Lock()
	p.code, p.port = code, port
	p.mu.Unlock()
	if p.Raw != nil {
		p.Raw.changed(code)
	}
}

// work says that a job has begun or ended, unless something else keeps the printer.
func (p *Printer) work(code int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.code == CodeReady || p.code == CodePrinting {
		p.code = code
	}
}

// Code is PJL's code of what the printer is at.
func (p *Printer) Code() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.code
}
