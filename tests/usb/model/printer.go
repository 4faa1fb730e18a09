package model

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/OpenPrinting/goipp"
)

// Printer is a composite printer: interface 0 is 7/1/2 (raw, bidirectional),
// interfaces 1 and 2 are 7/1/4 (IPP over USB).
type Printer struct {
	*Device
	DeviceID string
	Status   uint8 // class request GET_PORT_STATUS: 0x18 = selected, no error
	RawOut   *Queue
	RawIn    *Queue

	mu   sync.Mutex
	Raw  bytes.Buffer
	Jobs int
}

const DefaultDeviceID = "MFG:Rigworks;MDL:Composite 100;CMD:PJL,PCL,URF;CLS:PRINTER;SN:RIG0001;"

func NewPrinter(serial string) *Printer {
	p := &Printer{DeviceID: DefaultDeviceID, Status: 0x18, RawOut: NewQueue(64 << 10), RawIn: NewQueue(64 << 10)}
	d := &Device{VID: 0x1209, PID: 0x0001, BCD: 0x0100, Manufacturer: "Rigworks", Product: "Composite 100", Serial: serial,
		Interfaces: []Interface{
			{Number: 0, Class: 7, SubClass: 1, Proto: 2, Out: 0x01, In: 0x81, String: "raw"},
			{Number: 1, Class: 7, SubClass: 1, Proto: 4, Out: 0x02, In: 0x82, String: "ipp"},
			{Number: 2, Class: 7, SubClass: 1, Proto: 4, Out: 0x03, In: 0x83, String: "ipp"},
		},
		Endpoints: map[uint8]Endpoint{0x01: p.RawOut.HostOut(), 0x81: p.RawIn.HostIn()},
	}
	p.Device = d
	d.Class = p.class
	go p.rawLoop()
	for n := uint8(2); n <= 3; n++ {
		out, in := NewQueue(64<<10), NewQueue(64<<10)
		d.Endpoints[n], d.Endpoints[0x80|n] = out.HostOut(), in.HostIn()
		go p.serve(&Conn{FromHost: out, ToHost: in})
	}
	return p
}

func (p *Printer) class(s Setup, out []byte) ([]byte, error) {
	switch {
	case s.RequestType == 0xA1 && s.Request == 0: // GET_DEVICE_ID
		b := make([]byte, 2+len(p.DeviceID))
		binary.BigEndian.PutUint16(b, uint16(len(b)))
		copy(b[2:], p.DeviceID)
		return b, nil
	case s.RequestType == 0xA1 && s.Request == 1: // GET_PORT_STATUS
		return []byte{p.Status}, nil
	case s.RequestType == 0x21 && s.Request == 2: // SOFT_RESET
		p.RawOut.Reset()
		p.RawIn.Reset()
		return nil, nil
	}
	return nil, ErrStall
}

func (p *Printer) rawLoop() {
	c := &Conn{FromHost: p.RawOut, ToHost: p.RawIn}
	b := make([]byte, 4096)
	var line []byte
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.Raw.Write(b[:n])
		p.mu.Unlock()
		line = append(line, b[:n]...)
		for {
			i := bytes.IndexByte(line, '\n')
			if i < 0 {
				break
			}
			if bytes.Contains(line[:i], []byte("@PJL INFO STATUS")) {
				c.Write([]byte("@PJL INFO STATUS\r\nCODE=10001\r\nDISPLAY=\"READY\"\r\nONLINE=TRUE\r\n\f"))
			}
			line = line[i+1:]
		}
		if len(line) > 4096 {
			line = nil
		}
	}
}

func (p *Printer) RawLen() int { p.mu.Lock(); defer p.mu.Unlock(); return p.Raw.Len() }

type oneConn struct {
	c chan net.Conn
}

func (l *oneConn) Accept() (net.Conn, error) {
	c, ok := <-l.c
	if !ok {
		return nil, io.EOF
	}
	return c, nil
}
func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return addr{} }

func (p *Printer) serve(c *Conn) {
	l := &oneConn{c: make(chan net.Conn, 1)}
	l.c <- c
	http.Serve(l, http.HandlerFunc(p.ipp))
}

func (p *Printer) ipp(w http.ResponseWriter, r *http.Request) {
	var m goipp.Message
	if err := m.Decode(r.Body); err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	rest, _ := io.Copy(io.Discard, r.Body)
	a := goipp.NewResponse(m.Version, goipp.StatusOk, m.RequestID)
	a.Operation.Add(goipp.MakeAttribute("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	a.Operation.Add(goipp.MakeAttribute("attributes-natural-language", goipp.TagLanguage, goipp.String("en")))
	switch goipp.Op(m.Code) {
	case goipp.OpGetPrinterAttributes:
		a.Printer.Add(goipp.MakeAttribute("printer-make-and-model", goipp.TagText, goipp.String("Rigworks Composite 100")))
		a.Printer.Add(goipp.MakeAttribute("printer-state", goipp.TagEnum, goipp.Integer(3)))
	case goipp.OpPrintJob:
		p.mu.Lock()
		p.Jobs++
		a.Job.Add(goipp.MakeAttribute("job-id", goipp.TagInteger, goipp.Integer(p.Jobs)))
		p.mu.Unlock()
		a.Job.Add(goipp.MakeAttribute("job-k-octets", goipp.TagInteger, goipp.Integer(rest/1024)))
	default:
		a.Code = goipp.Code(goipp.StatusErrorOperationNotSupported)
	}
	b, _ := a.EncodeBytes()
	w.Header().Set("Content-Type", "application/ipp")
	w.Write(b)
}

func (p *Printer) JobCount() int { p.mu.Lock(); defer p.mu.Unlock(); return p.Jobs }
