package sse_test

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/cloud/api/sse"
)

func TestAStreamIsReadAsItWasWritten(t *testing.T) {
	w := connected{httptest.NewRecorder()}
	s := sse.Open(w)
	if err := errors.Join(s.Retry(3*time.Second), s.Comment("here"), s.Event("changed", []byte("{}")), s.Comment(""), s.Event("request", []byte(`{"id":"reg_1"}`))); err != nil {
		t.Fatal(err)
	}
	want := "retry: 3000\n\n: here\n\nevent: changed\ndata: {}\n\n:\n\nevent: request\ndata: {\"id\":\"reg_1\"}\n\n"
	if d := cmp.Diff(want, w.Body.String()); d != "" {
		t.Errorf("what was written (-want +got):\n%s", d)
	}
	for name, value := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store"} {
		if got := w.Header().Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	events, err := read(w.Body, 100)
	if d := cmp.Diff([]sse.Event{{Name: "changed", Data: "{}"}, {Name: "request", Data: `{"id":"reg_1"}`}}, events); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the end is %v, want io.ErrUnexpectedEOF", err)
	}
}

// connected is a recorder that takes deadlines as a connection does.
type connected struct{ *httptest.ResponseRecorder }

func (connected) SetWriteDeadline(time.Time) error { return nil }

func TestAWriteThatCannotBeBoundedIsNotMade(t *testing.T) {
	w := httptest.NewRecorder()
	if err := sse.Open(w).Comment("here"); !errors.Is(err, http.ErrNotSupported) || w.Body.Len() > 0 {
		t.Errorf("%v, and %q was written", err, w.Body)
	}
}

func read(in io.Reader, limit int) (events []sse.Event, err error) {
	for e, err := range sse.Read(in, limit) {
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
	return events, nil
}

func TestReadTakesWhatTheStandardHas(t *testing.T) {
	for _, c := range []struct {
		rule, text string
		want       []sse.Event
		err        error
	}{
		{"lines that end with CR LF", "event: a\r\ndata: b\r\n\r\n", []sse.Event{{Name: "a", Data: "b"}}, io.ErrUnexpectedEOF},
		{"no space after the colon", "event:a\ndata:b\n\n", []sse.Event{{Name: "a", Data: "b"}}, io.ErrUnexpectedEOF},
		{"data of two lines", "data: a\ndata: b\n\n", []sse.Event{{Name: "message", Data: "a\nb"}}, io.ErrUnexpectedEOF},
		{"a name alone", "event: changed\n\n", []sse.Event{{Name: "changed"}}, io.ErrUnexpectedEOF},
		{"fields that nobody needs", "id: 7\nfoo\nevent: a\n\n", []sse.Event{{Name: "a"}}, io.ErrUnexpectedEOF},
		{"an event that has not ended does not count", "event: a\ndata: b\n", nil, io.ErrUnexpectedEOF},
		{"comments are none", ": a\n\n:\n\n", nil, io.ErrUnexpectedEOF},
		{"a line beyond the bound", "data: " + strings.Repeat("x", 200) + "\n\n", nil, bufio.ErrTooLong},
		{"data beyond the bound, line by line", strings.Repeat("data: xxxxxxxxx\n", 20) + "\n", nil, bufio.ErrTooLong},
	} {
		got, err := read(strings.NewReader(c.text), 100)
		if d := cmp.Diff(c.want, got); d != "" || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v (-want +got):\n%s", c.rule, err, c.err, d)
		}
	}
}

// TestAStreamOutlivesTheServersLimits is why Open and write set deadlines: over HTTP/1.1 the server's limits end an answer, over
// HTTP/2 a deadline that passes while nothing is written ends it, too.
func TestAStreamOutlivesTheServersLimits(t *testing.T) {
	const limit = 100 * time.Millisecond
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			on := make(chan struct{})
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/limit" { // ends when the server's limits have struck one that is no stream
					for out := http.NewResponseController(w); out.Flush() == nil; {
						if _, err := w.Write(make([]byte, 1024)); err != nil {
							return
						}
					}
					return
				}
				s := sse.Open(w)
				if s.Event("first", nil) != nil {
					return
				}
				select {
				case <-on:
				case <-r.Context().Done():
				}
				_ = s.Event("second", nil) // if it fails, the reader says so
			}))
			server.EnableHTTP2 = protocol == "HTTP/2.0"
			server.Config.ReadTimeout, server.Config.WriteTimeout = limit, limit
			server.StartTLS()
			defer server.Close()
			res, err := server.Client().Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.Proto != protocol {
				t.Fatalf("the answer is %s", res.Proto)
			}
			next := func() (sse.Event, error) {
				for e, err := range sse.Read(res.Body, 100) {
					return e, err
				}
				return sse.Event{}, io.EOF
			}
			if e, err := next(); err != nil || e.Name != "first" {
				t.Fatalf("%v, %v", e, err)
			}
			ended, err := server.Client().Get(server.URL + "/limit")
			if err != nil {
				t.Fatal(err)
			}
			defer ended.Body.Close()
			_, _ = io.Copy(io.Discard, ended.Body) // it began later than the stream, and so do its limits
			close(on)
			if e, err := next(); err != nil || e.Name != "second" {
				t.Errorf("after the limits: %v, %v", e, err)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	for _, text := range []string{"event: changed\ndata: {}\n\n", "data\n\n", ":\n\n", "event: a\r\n\r\n", "data: a\ndata: b\n\nevent: c"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		const limit = 64
		events, err := read(strings.NewReader(text), limit)
		if err == nil {
			t.Error("a stream ended without an error")
		}
		for _, e := range events {
			if len(e.Data) > limit || e.Name == "" || strings.ContainsAny(e.Name, "\n") {
				t.Errorf("event %q", e)
			}
		}
	})
}
