package model_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/OpenPrinting/goipp"
	"go.uber.org/goleak"

	"github.com/mfpgate/mfpgate/tests/usb/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// attached is a printer that works.
func attached(t *testing.T, o model.Options) *model.Printer {
	t.Helper()
	p := model.New(o)
	if err := p.Attach(nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Detach)
	return p
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits for a state.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !is(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

func send(t *testing.T, p *model.Printer, address uint8, b []byte) {
	t.Helper()
	if n, err := p.Transfer(soon(t), address, b); n != len(b) || err != nil {
		t.Fatalf("sent %d of %d: %v", n, len(b), err)
	}
}

func receive(t *testing.T, p *model.Printer, address uint8) []byte {
	t.Helper()
	b := make([]byte, 8192)
	n, err := p.Transfer(soon(t), address, b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// wire is the host's end of an IPP-USB pair, as simple as can be.
type wire struct {
	net.Conn
	ctx     context.Context
	cancel  context.CancelFunc
	p       *model.Printer
	out, in uint8
	rest    []byte
}

func (w *wire) Write(b []byte) (int, error) { return w.p.Transfer(w.ctx, w.out, b) }

func (w *wire) Read(b []byte) (int, error) {
	for len(w.rest) == 0 {
		buf := make([]byte, 4096)
		n, err := w.p.Transfer(w.ctx, w.in, buf)
		if err != nil {
			return 0, err
		}
		w.rest = buf[:n]
	}
	n := copy(b, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

func (w *wire) Close() error                     { w.cancel(); return nil }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// client is an HTTP client over a pair of endpoints, whose transfers end with the test.
func client(t *testing.T, p *model.Printer, out, in uint8) *http.Client {
	t.Helper()
	ctx, done := context.WithCancel(soon(t))
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		ctx, cancel := context.WithCancel(ctx)
		return &wire{ctx: ctx, cancel: cancel, p: p, out: out, in: in}, nil
	}}
	t.Cleanup(func() { done(); transport.CloseIdleConnections() })
	return &http.Client{Transport: transport}
}

// ask sends an IPP request with a document.
func ask(t *testing.T, c *http.Client, op goipp.Op, document io.Reader, attributes ...goipp.Attribute) (goipp.Message, error) {
	t.Helper()
	request := goipp.NewRequest(goipp.DefaultVersion, op, 1)
	request.Operation.Add(goipp.MakeAttribute("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	request.Operation.Add(goipp.MakeAttribute("attributes-natural-language", goipp.TagLanguage, goipp.String("en")))
	request.Operation.Add(goipp.MakeAttribute("printer-uri", goipp.TagURI, goipp.String("ipp://localhost/ipp/print")))
	for _, a := range attributes {
		request.Operation.Add(a)
	}
	head, err := request.EncodeBytes()
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Post("http://localhost/ipp/print", goipp.ContentType, io.MultiReader(bytes.NewReader(head), document))
	if err != nil {
		return goipp.Message{}, err
	}
	defer r.Body.Close()
	var m goipp.Message
	if r.StatusCode != http.StatusOK {
		_, err := io.Copy(io.Discard, r.Body)
		return m, errors.Join(errors.New(r.Status), err)
	}
	if err := m.Decode(r.Body); err != nil {
		return m, err
	}
	_, err = io.Copy(io.Discard, r.Body)
	return m, err
}

func integer(a goipp.Attributes, name string) int {
	for _, a := range a {
		if a.Name == name {
			n, _ := a.Values[0].V.(goipp.Integer)
			return int(n)
		}
	}
	return -1
}
