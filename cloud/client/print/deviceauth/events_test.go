package deviceauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/print/deviceauth"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

func stream(text string, hold bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		_, _ = io.WriteString(w, text)
		w.(http.Flusher).Flush()
		if hold {
			<-r.Context().Done()
		}
	}
}

func TestAwaitEvent(t *testing.T) {
	for _, tt := range []struct {
		rule   string
		answer http.HandlerFunc
		ok     bool
		want   error
	}{
		{"an event", stream("event: changed\ndata: {}\n\n", true), true, nil},
		{"an event without data", stream("event:changed\n\n", true), true, nil},
		{"after heartbeats and other events", stream(": hello\n\n:\n\nevent: hello\ndata: x\n\ndata: x\n\nevent: changed\ndata: 1\n\n", true), true, nil},
		{"lines that end as in a mail", stream("event: changed\r\ndata: 1\r\n\r\n", true), true, nil},
		{"half an event", stream("event: changed\ndata: 1\n", false), false, nil},
		{"the end", stream(": hello\n\n", false), false, nil},
		{"another event", stream("event: changed2\n\nevent: changed\nevent: x\n\n", false), false, nil},
		{"a line without end", stream("data: "+strings.Repeat("x", 8<<10), true), false, nil},
		{"no such page", http.NotFound, false, mfpgate.ErrNoEvents},
		{"no more", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, false, mfpgate.ErrNoEvents},
		{"a page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "event: changed\n\n") }, false, mfpgate.ErrNoEvents},
		{"a redirect", http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect).ServeHTTP, false, nil},
		{"a broken server", answer(500, "{}"), false, nil},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			c, _, base := server(t, func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("Authorization"); got != "Bearer d-1" || r.URL.Path != "/e" {
					t.Errorf("%s with %q, want the device code at /e", r.URL, got)
				}
				tt.answer(w, r)
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := c.AwaitEvent(ctx, mfpgate.Code{DeviceCode: "d-1", Events: base + "/e"})
			if (err == nil) != tt.ok || tt.want != nil && !errors.Is(err, tt.want) || tt.want == nil && errors.Is(err, mfpgate.ErrNoEvents) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if errors.Is(err, context.DeadlineExceeded) {
				t.Error("it took until the deadline")
			}
		})
	}
	var c deviceauth.Client
	if err := c.AwaitEvent(t.Context(), mfpgate.Code{}); !errors.Is(err, mfpgate.ErrNoEvents) {
		t.Errorf("without an address: got %v, want ErrNoEvents", err)
	}
}

func TestAwaitEventOutlivesTheTimeoutOfAnExchange(t *testing.T) {
	there, over := make(chan struct{}), make(chan struct{})
	c, _, base := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/exchange" {
			<-r.Context().Done()
			return
		}
		stream(": hello\n\n", false)(w, r)
		close(there)
		select {
		case <-over:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "event: changed\n\n")
	})
	c.HTTP.Timeout = 50 * time.Millisecond
	end := make(chan error, 1)
	go func() { end <- c.AwaitEvent(t.Context(), mfpgate.Code{DeviceCode: "d", Events: base}) }()
	<-there
	if res, err := c.HTTP.Get(base + "/exchange"); err == nil { // it began later, and its timeout has struck
		res.Body.Close()
		t.Fatal("an exchange without an answer does not end")
	}
	close(over)
	if err := <-end; err != nil {
		t.Error(err)
	}
}

func TestASilentStreamIsLost(t *testing.T) {
	clock := fakeclock.New(noon)
	there := make(chan struct{})
	c, _, base := server(t, func(w http.ResponseWriter, r *http.Request) {
		close(there)
		stream(": hello\n\n", true)(w, r)
	})
	c.Clock = clock
	end := make(chan error, 1)
	go func() { end <- c.AwaitEvent(t.Context(), mfpgate.Code{DeviceCode: "d", Events: base}) }()
	<-there
	for { // the heartbeat rearms the timer at an instant that the test does not see
		clock.Advance(time.Minute)
		select {
		case err := <-end:
			if err == nil || !strings.Contains(err.Error(), "heartbeat") {
				t.Errorf("got %v, want the lack of a heartbeat", err)
			}
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestAwaitEventEndsWithItsContext(t *testing.T) {
	c, _, base := server(t, stream(": hello\n\n", true))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.AwaitEvent(ctx, mfpgate.Code{DeviceCode: "d", Events: base}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's end", err)
	}
}
