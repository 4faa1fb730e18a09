package document_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/document"
	"github.com/mfpgate/mfpgate/usb/ippusb"
)

func TestContentThatFails(t *testing.T) {
	lost := errors.New("disk error")
	for _, test := range []struct {
		rule    string
		content io.Reader
		size    int64
		says    string
		got     string // by the printer
	}{
		{"in its midst", io.MultiReader(strings.NewReader("half a page"), failing{lost}), -1, lost.Error(), "half a page"},
		{"shorter than was said", strings.NewReader("abc"), 4, "not as long as was said: 3 of 4 bytes", "abc"},
		{"longer than was said: what is too much is not sent", strings.NewReader("abcde"), 4, "not as long as was said: 5 of 4 bytes", "abcd"},
	} {
		t.Run(test.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &printer{}
				status, err := p.ipp().Print(t.Context(), mfpgate.Document{Size: test.size, Content: test.content}, nil)
				if status.State != mfpgate.JobAborted || err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("got %+v, %v", status, err)
				}
				if n := p.count(goipp.OpCancelJob); n != 1 || string(p.jobs[0].content) != test.got {
					t.Errorf("the printer got %q, and was told to cancel it %d times, want once", p.jobs[0].content, n)
				}
			})
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestSentIsWhatThePrinterTook, where the transport tells, and not what the transport has of it.
func TestSentIsWhatThePrinterTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, hold := &printer{state: 5}, make(chan struct{})
		i := p.ipp()
		i.Client.Transport = transport(func(req *http.Request) (*http.Response, error) {
			taker, tells := req.Body.(ippusb.Taker)
			if !tells {
				return p.RoundTrip(req)
			}
			taker.Taken(0)
			b, err := io.ReadAll(req.Body)
			taker.Taken(len(b) - 5)
			<-hold
			req.Body = io.NopCloser(bytes.NewReader(b))
			resp, _ := p.RoundTrip(req) // it answers before the transport tells of the rest
			return resp, err
		})
		var told states
		done := start(t.Context(), i, doc("%PDF-1.7 page"), told.tell)
		time.AfterFunc(3*time.Second, func() {
			if got := told.last(); got.Sent != 13-5 {
				t.Errorf("while the printer has all but five bytes: %+v", got)
			}
			close(hold)
		})
		if got := <-done; got.err != nil || got.status.Sent != 13 {
			t.Errorf("got %+v, %v", got.status, got.err)
		}
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// TestALongNameIsCut between two characters, and its mark is kept.
func TestALongNameIsCut(t *testing.T) {
	p, d := &printer{}, doc("page")
	d.Name = "x" + strings.Repeat("ü", 60)
	if _, err := p.ipp().Print(t.Context(), d, nil); err != nil {
		t.Fatal(err)
	}
	if name := p.jobs[0].name; len(name) > 63 || !utf8.ValidString(name) || !strings.HasPrefix(name, "xü") || !strings.HasSuffix(name, "]") {
		t.Errorf("the job is called %q", name)
	}
}

func TestBytesArriveIdenticalOverTCP(t *testing.T) {
	content := make([]byte, 20<<20+7)
	rand.NewChaCha8([32]byte{1}).Read(content)
	p := &printer{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := p.RoundTrip(r)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", goipp.ContentType)
		io.Copy(w, resp.Body)
	}))
	defer server.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for _, size := range []int64{int64(len(content)), -1} {
		i := document.IPP{Client: &http.Client{Transport: transport}, URL: server.URL + "/ipp/print", Clock: mfpgate.SystemClock{}}
		status, err := i.Print(t.Context(), mfpgate.Document{Size: size, Content: io.MultiReader(bytes.NewReader(content))}, nil)
		if err != nil || status.State != mfpgate.JobCompleted || status.Sent != int64(len(content)) {
			t.Fatalf("got %+v, %v", status, err)
		}
		if got := p.jobs[len(p.jobs)-1].content; !bytes.Equal(got, content) {
			t.Errorf("%d bytes arrived, and not those that were sent", len(got))
		}
	}
}
