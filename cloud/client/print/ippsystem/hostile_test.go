package ippsystem_test

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/OpenPrinting/goipp"
	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/print/ippsystem"
)

// message is an answer made by hand: RFC 8010 §3.1's header, the operation group's two attributes, then rest.
func message(rest ...byte) []byte {
	head := []byte{2, 0, 0, 0, 0, 0, 0, 1, 1}
	for _, pair := range [][2]string{{"\x47attributes-charset", "utf-8"}, {"\x48attributes-natural-language", "en"}} {
		head = append(head, pair[0][0])
		head = append(append(head, 0, byte(len(pair[0])-1)), pair[0][1:]...)
		head = append(append(head, 0, byte(len(pair[1]))), pair[1]...)
	}
	return append(head, rest...)
}

// nested is one attribute of collections within one another.
func nested(levels int) []byte {
	open := bytes.Repeat([]byte{0x4a, 0, 0, 0, 1, 'm', 0x34, 0, 0, 0, 0}, levels-1)
	closed := bytes.Repeat([]byte{0x37, 0, 0, 0, 0}, levels)
	return message(slices.Concat([]byte{4, 0x34, 0, 1, 'a', 0, 0}, open, closed, []byte{3})...)
}

// many is one attribute of many values.
func many(values int) []byte {
	return message(append(append([]byte{4, 0x21, 0, 1, 'a', 0, 4, 0, 0, 0, 1}, bytes.Repeat([]byte{0x21, 0, 0, 0, 4, 0, 0, 0, 1}, values)...), 3)...)
}

func TestHostileAnswers(t *testing.T) {
	for _, tc := range []struct {
		rule string
		body []byte
		says string
	}{
		{"nothing", nil, "shorter"},
		{"text", []byte("HTTP/1.1 200 OK"), "version"},
		{"IPP 3", append([]byte{3}, message(3)[1:]...), "version"},
		{"cut off", message(4, 0x21, 0, 1), "ends early"},
		{"no end", message(), "ends early"},
		{"something after the end", message(3, 0), "after its end"},
		{"the answer to another request", append([]byte{2, 0, 0, 0, 0, 0, 0, 99}, message(3)[8:]...), "for the request 99"},
		{"collections deeper than any", nested(1000), "levels"},
		{"more values than any", many(10000), "values"},
		{"a collection that does not end", message(4, 0x34, 0, 1, 'a', 0, 0, 3), "Collection"},
		{"a collection that has not begun", message(4, 0x37, 0, 0, 0, 0, 3), "endCollection"},
		{"longer than any", many(30000), "longer than"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			f := newFake(t)
			f.refuse = func(_ goipp.Op, w answer, _ uint32) bool {
				w.Header().Set("Content-Type", "application/ipp")
				_, _ = w.Write(tc.body)
				return true
			}
			s := f.open(t)
			_, err := s.RequestCode(t.Context(), mfpgate.CodeRequest{Device: device("a")})
			if err == nil || errors.Is(err, mfpgate.ErrNobodyAsked) || errors.Is(err, mfpgate.ErrRefused) {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(err.Error(), tc.says) {
				t.Errorf("it does not say %q: %v", tc.says, err)
			}
		})
	}
}

func TestASilentSystem(t *testing.T) {
	f := newFake(t)
	gone := make(chan struct{})
	f.refuse = func(goipp.Op, answer, uint32) bool { <-gone; return true }
	defer close(gone)
	s := open(t, ippsystem.Options{URL: f.url, Timeout: 20 * time.Millisecond})
	var slow interface{ Timeout() bool }
	if _, err := s.RequestCode(t.Context(), mfpgate.CodeRequest{Device: device("a")}); !errors.As(err, &slow) || !slow.Timeout() {
		t.Errorf("after its time: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.open(t).RequestCode(ctx, mfpgate.CodeRequest{Device: device("a")}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// recorded is an answer of Debian's ippserver; its request's id is in it.
func recorded(t testing.TB, name string) (body []byte, id uint32) {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", "ippserver-"+name+".ipp"))
	if err != nil || len(body) < 8 {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	return body, uint32(body[4])<<24 | uint32(body[5])<<16 | uint32(body[6])<<8 | uint32(body[7])
}

func TestRecordedAnswers(t *testing.T) {
	body, id := recorded(t, "system")
	issuer, scope, mandatory, registers, err := ippsystem.SystemForTest(body, id)
	if issuer != "" || scope != "" || len(mandatory) != 0 || !registers || err != nil {
		t.Errorf("system: %q, %q, %q, %v, %v", issuer, scope, mandatory, registers, err)
	}
	body, id = recorded(t, "register")
	got, err := open(t, ippsystem.Options{URL: "ipp://127.0.0.1/ipp/system"}).PrinterForTest(body, id)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got.URI, "ipp://127.0.0.1:") || !strings.HasSuffix(got.URI, "/ipp/print/infra") {
		t.Errorf("uri %q", got.URI)
	}
	got.URI = ""
	if diff := cmp.Diff(mfpgate.Printer{ID: "1"}, got); diff != "" {
		t.Errorf("printer (-want +got):\n%s", diff)
	}
}

// FuzzAnswer reads any body as both answers. Its corpus begins with what ippserver answers.
func FuzzAnswer(f *testing.F) {
	for _, name := range []string{"system", "register"} {
		body, _ := recorded(f, name)
		f.Add(body)
	}
	for _, m := range []*goipp.Message{
		{Version: goipp.MakeVersion(2, 0), RequestID: 1, System: goipp.Attributes{issuer("https://login.example"), operations(goipp.OpRegisterOutputDevice),
			text("system-mandatory-registration-attributes", goipp.TagKeyword, "printer-info")}},
		{Version: goipp.MakeVersion(2, 0), RequestID: 1, Printer: printerAt("ipps://print.example/p", "ipp://evil.example/p")},
		{Version: goipp.MakeVersion(2, 0), Code: goipp.Code(goipp.StatusErrorBusy), RequestID: 1},
	} {
		body, err := m.EncodeBytes()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add(nested(4))
	f.Add(many(100))
	s, err := ippsystem.Open(ippsystem.Options{URL: "ipps://print.example/ipp/system"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var id uint32
		if len(body) >= 8 {
			id = uint32(body[4])<<24 | uint32(body[5])<<16 | uint32(body[6])<<8 | uint32(body[7])
		}
		if issuer, _, _, _, err := ippsystem.SystemForTest(body, id); err == nil && strings.ContainsFunc(issuer, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("issuer %q", issuer)
		}
		p, err := s.PrinterForTest(body, id)
		if err != nil {
			return
		}
		if u, err := url.Parse(p.URI); err != nil || !strings.EqualFold(u.Hostname(), "print.example") ||
			u.Scheme != "ipps" && u.Scheme != "https" || u.User != nil || p.ID == "" {
			t.Errorf("printer %+v", p)
		}
	})
}
