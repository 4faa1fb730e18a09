package ipp_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/OpenPrinting/goipp"
	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery/ipp"
	"github.com/mfpgate/mfpgate/tests/need"
)

// uuidA is a printer's.
const uuidA = "601e73af-a38d-31ad-54d4-531e1106c61e"

// printer answers Get-Printer-Attributes with those of its attributes that were asked for.
type printer struct {
	t         testing.TB
	attrs     goipp.Attributes
	newest    goipp.Version // 0: 2.0
	badMajor  bool          // says bad-request to a version that it does not know
	groupOnly bool          // answers nothing to names
	status    goipp.Status
	charset   string
	asked     []string // the versions and the first name of each request
	request   *goipp.Message
	head      *http.Request
}

func (p *printer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Errorf("read request: %v", err)
	}
	var m goipp.Message
	if err := m.DecodeBytes(body); err != nil {
		p.t.Errorf("decode request: %v", err)
		return
	}
	p.request, p.head = &m, r
	var names []string
	for _, attr := range m.Operation {
		if attr.Name == "requested-attributes" {
			for _, v := range attr.Values {
				names = append(names, v.V.String())
			}
		}
	}
	p.asked = append(p.asked, m.Version.String()+" "+strings.Join(names[:1], ""))
	answer := goipp.NewResponse(m.Version, p.status, m.RequestID)
	charset := p.charset
	if charset == "" {
		charset = "utf-8"
	}
	answer.Operation.Add(goipp.MakeAttribute("attributes-charset", goipp.TagCharset, goipp.String(charset)))
	answer.Operation.Add(goipp.MakeAttribute("attributes-natural-language", goipp.TagLanguage, goipp.String("en")))
	group := slices.Contains(names, "printer-description")
	switch {
	case p.newest != 0 && m.Version > p.newest && p.badMajor:
		answer.Code = goipp.Code(goipp.StatusErrorBadRequest)
	case p.newest != 0 && m.Version > p.newest:
		answer.Code = goipp.Code(goipp.StatusErrorVersionNotSupported)
	case p.groupOnly && !group:
	default:
		for _, attr := range p.attrs {
			if group || slices.Contains(names, attr.Name) {
				answer.Printer.Add(attr)
			}
		}
	}
	data, err := answer.EncodeBytes()
	if err != nil {
		p.t.Errorf("encode answer: %v", err)
	}
	w.Header().Set("Content-Type", "application/ipp")
	w.Write(data)
}

// text, number and octets make attributes.
func text(name string, values ...string) goipp.Attribute {
	return strs(name, goipp.TagText, values)
}

func words(name string, values ...string) goipp.Attribute {
	return strs(name, goipp.TagKeyword, values)
}

func strs(name string, tag goipp.Tag, values []string) goipp.Attribute {
	attr := goipp.Attribute{Name: name}
	for _, v := range values {
		attr.Values.Add(tag, goipp.String(v))
	}
	return attr
}

func number(name string, values ...int) goipp.Attribute {
	attr := goipp.Attribute{Name: name}
	for _, v := range values {
		attr.Values.Add(goipp.TagInteger, goipp.Integer(v))
	}
	return attr
}

func octets(name string, values ...string) goipp.Attribute {
	attr := goipp.Attribute{Name: name}
	for _, v := range values {
		attr.Values.Add(goipp.TagString, goipp.Binary(v))
	}
	return attr
}

func enum(name string, value int) goipp.Attribute {
	return goipp.MakeAttribute(name, goipp.TagEnum, goipp.Integer(value))
}

// serve runs a handler at address (127.0.0.1:0 if empty) and returns where.
func serve(t testing.TB, address string, handler http.Handler, secure bool) mfpgate.Endpoint {
	t.Helper()
	if secure {
		return serveTLS(t, address, handler, &tls.Config{MinVersion: tls.VersionTLS12})
	}
	return serveTLS(t, address, handler, nil)
}

// serveTLS is serve behind TLS, unless config is nil, with httptest's certificate, which nobody trusts.
func serveTLS(t testing.TB, address string, handler http.Handler, config *tls.Config) mfpgate.Endpoint {
	t.Helper()
	if address == "" {
		address = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", address)
	need.That(t, err == nil, fmt.Sprintf("cannot listen at %s (%v); run as root, with IPv6 on the loopback device", address, err))
	s := &httptest.Server{Listener: listener, TLS: config}
	s.Config = &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)} // handshakes that are meant to fail
	protocol := mfpgate.ProtocolIPP
	if config != nil {
		protocol = mfpgate.ProtocolIPPS
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return mfpgate.Endpoint{Protocol: protocol, Address: netip.MustParseAddrPort(listener.Addr().String()), Path: "ipp/print"}
}

// raw hands each connection over once the request's first bytes have come, and closes it afterwards.
func raw(t testing.TB, answer func(net.Conn)) mfpgate.Endpoint {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() { // ends with the listener
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection, which the client closes
				defer conn.Close()
				conn.Read(make([]byte, 4096))
				answer(conn)
			}()
		}
	}()
	return mfpgate.Endpoint{Protocol: mfpgate.ProtocolIPP, Address: netip.MustParseAddrPort(listener.Addr().String()), Path: "ipp/print"}
}

// newClient returns a client by the machine's clock and the number of requests that it has sent.
func newClient(t testing.TB) (*ipp.Client, *atomic.Int64) {
	t.Helper()
	var sent atomic.Int64
	c := ipp.New(ipp.Options{Clock: mfpgate.SystemClock{}, Sent: func() { sent.Add(1) }})
	t.Cleanup(c.Close)
	return c, &sent
}

func addresses() cmp.Option {
	return cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
}

func repeat(n int, make func(string) goipp.Attribute) goipp.Attributes {
	var out goipp.Attributes
	for i := range n {
		out.Add(make(strconv.Itoa(i)))
	}
	return out
}
