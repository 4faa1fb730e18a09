package agent_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/daemon/agent"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

const patience = 20 * time.Second

// awaitState waits for a state of the desk.
func awaitState(t *testing.T, what string, reached func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !reached() {
		if mfpgate.Wait(ctx, mfpgate.SystemClock{}, time.Millisecond) != nil {
			t.Fatalf("never: %s", what)
		}
	}
}

// later asks in a goroutine, for which the test waits by the channel.
func (s *scene) later(path string, change ...func(*http.Request)) <-chan *http.Response {
	out := make(chan *http.Response, 1)
	go func() { out <- s.ask("GET", path, "", change...) }()
	return out
}

func (s *scene) soon(out <-chan *http.Response) *http.Response {
	s.t.Helper()
	select {
	case res := <-out:
		return res
	case <-time.After(patience):
		s.t.Fatal("no answer")
		return nil
	}
}

func TestAPollIsHeldBack(t *testing.T) {
	clock := fakeclock.New(start)
	s := open(t, clock)

	t.Log("until a request comes")
	asked := s.later(api.RequestsPath + "?wait=60")
	awaitState(t, "the poll waits", func() bool { return s.watchers() == 1 })
	s.add("reg_2", byAddress) // of another device: no reason to answer
	s.add("reg_1", byAccount)
	res := s.soon(asked)
	tag := res.Header.Get("ETag")
	if res.StatusCode != 200 || tag == "" {
		t.Fatalf("got %d, tag %q", res.StatusCode, tag)
	}

	t.Log("until the wait is over, for a device that knows what is open")
	asked = s.later(api.RequestsPath+"?wait=60", header("If-None-Match", tag))
	awaitState(t, "the poll waits", func() bool { return s.watchers() == 1 })
	clock.Advance(time.Minute)
	if res := s.soon(asked); res.StatusCode != 304 || res.Header.Get("ETag") != tag {
		t.Errorf("after the wait: %d, want 304", res.StatusCode)
	}

	t.Log("until what is open has ended")
	asked = s.later(api.RequestsPath+"?wait=60", header("If-None-Match", `"other", W/`+tag))
	awaitState(t, "the poll waits", func() bool { return s.watchers() == 1 })
	s.end("reg_1")
	if body, err := io.ReadAll(s.soon(asked).Body); err != nil || !strings.Contains(string(body), `"items":[]`) {
		t.Errorf("after the end: %s, %v", body, err)
	}
	awaitState(t, "nobody waits any more", func() bool { return s.watchers() == 0 })
}

func TestTheNewestRequestOfADeviceWaits(t *testing.T) {
	s := open(t, fakeclock.New(start))
	first := s.later(api.RequestsPath + "?wait=60")
	awaitState(t, "the first waits", func() bool { return s.watchers() == 1 })
	second := s.later(api.RequestsPath + "?wait=60")
	if res := s.soon(first); res.StatusCode != 200 {
		t.Errorf("the first: %d, want 200 with nothing", res.StatusCode)
	}
	awaitState(t, "the second waits", func() bool { return s.watchers() == 1 })
	s.add("reg_1", byAccount)
	if body, err := io.ReadAll(s.soon(second).Body); err != nil || !strings.Contains(string(body), "reg_1") {
		t.Errorf("the second: %s, %v", body, err)
	}
}

// server serves as daemon does, but with limits that a test can wait out.
func (s *scene) server() *httptest.Server {
	server := httptest.NewUnstartedServer(s)
	server.Config.ReadTimeout, server.Config.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond
	server.EnableHTTP2 = false
	server.StartTLS()
	s.t.Cleanup(server.Close)
	return server
}

func (s *scene) get(ctx context.Context, server *httptest.Server, path string, change ...func(*http.Request)) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, "GET", server.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.SetBasicAuth("copier", "right")
	for _, c := range change {
		c(r)
	}
	return server.Client().Do(r)
}

func TestAPollOutlastsTheServersLimits(t *testing.T) {
	s := open(t, mfpgate.SystemClock{})
	res, err := s.get(t.Context(), s.server(), api.RequestsPath+"?wait=1")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); res.StatusCode != 200 || err != nil || !strings.Contains(string(body), `"items":[]`) {
		t.Errorf("got %d %s, %v", res.StatusCode, body, err)
	}
}

// session is a stream that a device keeps open.
type session struct {
	t     *testing.T
	lines *bufio.Scanner
	end   context.CancelFunc
}

func (s *scene) session(server *httptest.Server) *session {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	s.t.Cleanup(cancel)
	res, err := s.get(ctx, server, api.RequestsPath, header("Accept", "text/event-stream"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = res.Body.Close() })
	if kind := res.Header.Get("Content-Type"); res.StatusCode != 200 || kind != "text/event-stream" {
		s.t.Fatalf("got %d %s", res.StatusCode, kind)
	}
	return &session{s.t, bufio.NewScanner(res.Body), cancel}
}

// next is the next event, or the sign of life.
func (x *session) next() string {
	x.t.Helper()
	var event []string
	for x.lines.Scan() {
		if x.lines.Text() == "" {
			return strings.Join(event, " ")
		}
		event = append(event, x.lines.Text())
	}
	return fmt.Sprint("ended: ", x.lines.Err())
}

// want reads on to an event.
func (x *session) want(parts ...string) {
	x.t.Helper()
	for {
		got := x.next()
		missing := slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(got, p) })
		switch {
		case !missing:
			return
		case strings.HasPrefix(got, "ended: "):
			x.t.Fatalf("%s before %q", got, parts)
		case got != ": here":
			x.t.Fatalf("got %q, want %q", got, parts)
		}
	}
}

func TestASessionTellsWhatChanges(t *testing.T) {
	s := open(t, mfpgate.SystemClock{})
	s.add("reg_1", byAccount)
	server := s.server()
	x := s.session(server)
	x.want("event: registration-request ", `"registrationId":"reg_1"`)
	x.want("event: registration-requests ", `{"deviceId":"dev_account","registrationIds":["reg_1"]}`)
	s.add("reg_9", byAddress)
	s.add("reg_2", byAccount)
	x.want("event: registration-request ", `"registrationId":"reg_2"`)
	x.want("event: registration-requests ", `["reg_1","reg_2"]`)
	s.end("reg_1")
	x.want("event: registration-requests ", `["reg_2"]`)

	t.Log("and outlasts the server's limits")
	silent, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	<-silent.Done()
	s.add("reg_3", byAccount)
	x.want("event: registration-request ", `"registrationId":"reg_3"`)
	x.want("event: registration-requests ", `["reg_2","reg_3"]`)

	t.Log("another one of the device ends it")
	y := s.session(server)
	y.want("event: registration-request ", "reg_2")
	for got := x.next(); !strings.HasPrefix(got, "ended: "); got = x.next() {
		if got != ": here" {
			t.Errorf("the first stream says %q", got)
		}
	}
	y.end()
	awaitState(t, "nobody follows any more", func() bool { return s.watchers() == 0 })
}

func TestASessionWithNothingToDoSaysSo(t *testing.T) {
	s := open(t, mfpgate.SystemClock{})
	s.session(s.server()).want("event: registration-requests ", `"registrationIds":[]`)
}

func TestASessionBeatsAndEnds(t *testing.T) {
	clock := fakeclock.New(time.Now()) // deadlines of writes are the machine's
	s := open(t, clock)
	x := s.session(s.server())
	x.want("registration-requests")
	for range 3 {
		for x.next() != ": here" {
		}
		clock.AwaitTimers(2) // the beat and the end
		clock.Advance(agent.Beat)
	}
	clock.AwaitTimers(2)
	clock.Advance(agent.MaxStream)
	for got := x.next(); !strings.HasPrefix(got, "ended: "); got = x.next() {
	}
}

func TestTooManyWait(t *testing.T) {
	clock := fakeclock.New(start)
	d := newDesk()
	s := &scene{t, d, agent.Handler(agent.Options{Requests: d, Devices: manyDevices{}, Clock: clock})}
	none := header("Authorization", "")
	var asked []<-chan *http.Response
	for n := range agent.MaxWaiting {
		asked = append(asked, s.later(api.RequestsPath+"?wait=60", none, from(fmt.Sprintf("10.1.0.%d:1", n))))
	}
	awaitState(t, "all wait", func() bool { return s.watchers() == agent.MaxWaiting })
	res := s.ask("GET", api.RequestsPath+"?wait=60", "", none, from("10.2.0.1:1"))
	if res.StatusCode != 200 || res.Header.Get("Retry-After") != "30" {
		t.Errorf("a poll: %d, Retry-After %q, want an answer at once and when to come again", res.StatusCode, res.Header.Get("Retry-After"))
	}
	res = s.ask("GET", api.RequestsPath, "", none, from("10.2.0.1:1"), header("Accept", "text/event-stream"))
	if got := problem(t, res); res.StatusCode != 503 || got.Reason() != "too-many" || res.Header.Get("Retry-After") != "30" {
		t.Errorf("a stream: %d %s, Retry-After %q", res.StatusCode, got.Reason(), res.Header.Get("Retry-After"))
	}
	clock.Advance(time.Minute)
	for _, a := range asked {
		if res := s.soon(a); res.StatusCode != 200 {
			t.Error(res.Status)
		}
	}
}
