package mfp_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/internal/mfp"
)

const size = 2 << 20

// site is a region, a relay before it and the events of one device.
type site struct {
	*servertest.Region
	relay   *relay
	options mfp.Options
	events  chan mfp.Event
}

func newSite(t *testing.T) *site {
	s := &site{Region: servertest.Start(t), relay: newRelay(t), events: make(chan mfp.Event, 10_000)}
	cloud, err := url.Parse(s.URL)
	must(t, err)
	s.options = mfp.Options{
		Cloud: cloud, RootCAs: s.Roots, Proxy: s.relay.url, Bind: netip.MustParseAddr("127.0.1.7"), Token: s.Device(t, "mfp-1"),
		ID: "mfp-1", Model: "SIM-100", Serial: "1", Firmware: "1.0", Poll: 50 * time.Millisecond, Clock: mfpgate.SystemClock{},
		Jitter: func(bound time.Duration) time.Duration { return min(bound, 20*time.Millisecond) },
		Notify: func(e mfp.Event) { s.events <- e },
	}
	return s
}

// run switches the device on; the function that it returns switches it off and waits until it is.
func (s *site) run(t *testing.T) func() {
	t.Helper()
	d, err := mfp.New(s.options)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }() // the returned function waits
	off := func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the device ended with %v", err)
		}
	}
	return off
}

// await returns the next event of a kind.
func (s *site) await(t *testing.T, kind mfp.Kind) mfp.Event {
	t.Helper()
	return s.awaitAll(t, kind)[kind]
}

// awaitAll returns the next event of each kind, whatever their order.
func (s *site) awaitAll(t *testing.T, kinds ...mfp.Kind) map[mfp.Kind]mfp.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	found := map[mfp.Kind]mfp.Event{}
	var others []string
	for len(found) < len(kinds) {
		select {
		case e := <-s.events:
			if _, twice := found[e.Kind]; slices.Contains(kinds, e.Kind) && !twice {
				found[e.Kind] = e
			} else {
				others = append(others, e.Text)
			}
		case <-ctx.Done():
			t.Fatalf("of %v came %v; else: %s", kinds, found, strings.Join(others, "; "))
		}
	}
	return found
}

func TestInstallsThroughTheRelay(t *testing.T) {
	s := newSite(t)
	s.relay.password = "secret"
	s.options.Proxy.User = url.UserPassword("mfp", "secret")
	defer s.run(t)()
	s.await(t, mfp.CheckedIn)
	p := s.Package(t, "SIM-100", "2.0", size)
	if e := s.await(t, mfp.Installed); e.Package != p.PackageID || e.Version != "2.0" {
		t.Errorf("installed %+v, want %s", e, p.PackageID)
	}
	s.await(t, mfp.Reported)
	if e := s.await(t, mfp.CheckedIn); e.Version != "2.0" {
		t.Errorf("checks in with %s, want 2.0", e.Version)
	}
	s.relay.set(func(r *relay) {
		if len(r.clients) != 1 || r.clients["127.0.1.7"] == 0 {
			t.Errorf("connections by source address: %v, want all from 127.0.1.7", r.clients)
		}
	})
}

func TestPushBringsWorkAtOnce(t *testing.T) {
	s := newSite(t)
	s.options.Poll = time.Hour
	defer s.run(t)()
	s.awaitAll(t, mfp.CheckedIn, mfp.PushOpened)
	s.Package(t, "SIM-100", "2.0", 1000)
	s.await(t, mfp.Installed)
}

func TestInterruptedDownloadGoesOn(t *testing.T) {
	s := newSite(t)
	s.relay.cut, s.relay.cuts = 600_000, 2
	p := s.Package(t, "SIM-100", "2.0", size)
	defer s.run(t)()
	var broke [2]mfp.Event
	for i := range broke {
		broke[i] = s.await(t, mfp.Interrupted)
		if e := s.await(t, mfp.Downloading); e.Offset != broke[i].Bytes || e.Offset == 0 {
			t.Errorf("broke off at byte %d, goes on at %d", broke[i].Bytes, e.Offset)
		}
	}
	if broke[1].Bytes <= broke[0].Bytes {
		t.Errorf("the second part ends at %d, the first at %d", broke[1].Bytes, broke[0].Bytes)
	}
	if e := s.await(t, mfp.Downloaded); e.Bytes != p.Size {
		t.Errorf("downloaded %d bytes, want %d", e.Bytes, p.Size)
	}
	s.await(t, mfp.Reported)
}

func TestDownloadGoesOnAfterARestart(t *testing.T) {
	s := newSite(t)
	s.options.State = filepath.Join(t.TempDir(), "mfp-1.json")
	s.options.Jitter = func(bound time.Duration) time.Duration { return bound } // time to switch it off before it tries again
	s.relay.cut, s.relay.cuts = 600_000, 1
	s.Package(t, "SIM-100", "2.0", size)
	off := s.run(t)
	broke := s.await(t, mfp.Interrupted)
	off()
	off = s.run(t)
	if e := s.await(t, mfp.Downloading); e.Offset != broke.Bytes || e.Offset == 0 {
		t.Errorf("broke off at byte %d, goes on at %d", broke.Bytes, e.Offset)
	}
	s.await(t, mfp.Reported)
	off()
	off = s.run(t)
	if e := s.await(t, mfp.CheckedIn); e.Version != "2.0" {
		t.Errorf("after another restart it runs %s, want 2.0", e.Version)
	}
	off()
}

func TestPartOfAnotherVersionIsThrownAway(t *testing.T) {
	s := newSite(t)
	s.options.State = filepath.Join(t.TempDir(), "mfp-1.json")
	s.options.Jitter = func(bound time.Duration) time.Duration { return bound }
	s.relay.cut, s.relay.cuts = 600_000, 1
	p := s.Package(t, "SIM-100", "2.0", size)
	off := s.run(t)
	s.await(t, mfp.Interrupted)
	off()
	data, err := os.ReadFile(s.options.State)
	must(t, err)
	other := bytes.Replace(data, []byte(p.SHA256), []byte(strings.Repeat("0", 64)), 1) // in the entity tag
	if bytes.Equal(data, other) {
		t.Fatalf("no entity tag in %s", data)
	}
	must(t, os.WriteFile(s.options.State, other, 0o600))
	defer s.run(t)()
	if e := s.await(t, mfp.Downloading); e.Offset != 0 {
		t.Errorf("goes on at byte %d of another version", e.Offset)
	}
	s.await(t, mfp.Installed)
}

func TestWrongBytesAreRefusedAndReported(t *testing.T) {
	s := newSite(t)
	p := s.Package(t, "SIM-100", "2.0", 100_000)
	must(t, os.WriteFile(filepath.Join(s.Dir, "packages", p.PackageID+".bin"), bytes.Repeat([]byte("x"), 100_000), 0o600))
	defer s.run(t)()
	for range 3 {
		s.await(t, mfp.Rejected)
		if e := s.await(t, mfp.Reported); !strings.Contains(e.Text, "failed") {
			t.Errorf("reported %q, want a failure", e.Text)
		}
		if e := s.await(t, mfp.CheckedIn); e.Version != "1.0" {
			t.Errorf("it runs %s, want 1.0", e.Version)
		}
	}
	s.Package(t, "SIM-100", "2.1", 1000)
	for e := range s.events { // three failures are enough: what comes next is the next version
		if e.Kind == mfp.Offered && e.Version == "2.0" {
			t.Error("the package was offered a fourth time")
		}
		if e.Kind == mfp.Installed {
			break
		}
	}
}

func TestWaitsAsLongAsTheRelaySays(t *testing.T) {
	s := newSite(t)
	s.relay.refuse = 2
	defer s.run(t)()
	begun := s.options.Clock.Now()
	for range 2 {
		e := s.await(t, mfp.Waiting)
		if e.Status != 503 || e.RetryMS < 1000 || !strings.HasPrefix(e.Text, "waiting for its turn (503, retry in 1") {
			t.Errorf("got %+v, want a 503 with a wait of a second", e)
		}
	}
	s.await(t, mfp.PushOpened)
	if waited := s.options.Clock.Now().Sub(begun); waited < time.Second {
		t.Errorf("came back after %s", waited)
	}
}

func TestWaitsForAPlainRelayToo(t *testing.T) {
	relay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host != "cloud.example" {
			t.Errorf("asked for %s, want an absolute address at cloud.example", r.URL)
		}
		w.Header().Set("Retry-After", "3")
		w.Header().Set("Proxy-Status", "relay; error=connection_limit_reached")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer relay.Close()
	s := &site{events: make(chan mfp.Event, 100)}
	proxy, err := url.Parse(relay.URL)
	must(t, err)
	s.options = mfp.Options{
		Cloud: &url.URL{Scheme: "http", Host: "cloud.example"}, Proxy: proxy, Token: "mfp-1.x", ID: "mfp-1", Model: "SIM-100", Firmware: "1.0",
		Clock: mfpgate.SystemClock{}, Jitter: func(time.Duration) time.Duration { return 0 }, Notify: func(e mfp.Event) { s.events <- e },
	}
	defer s.run(t)()
	if e := s.await(t, mfp.Waiting); e.Text != "waiting for its turn (503, retry in 3s)" {
		t.Errorf("got %q", e.Text)
	}
}

func TestStalledDownloadIsBrokenOff(t *testing.T) {
	s := newSite(t)
	s.relay.stall = 600_000
	s.options.Stall = 200 * time.Millisecond
	s.Package(t, "SIM-100", "2.0", size)
	defer s.run(t)()
	if e := s.await(t, mfp.Interrupted); e.Bytes == 0 {
		t.Errorf("got %+v, want a part", e)
	}
	if e := s.await(t, mfp.Unreachable); !strings.Contains(e.Text, mfp.ErrStalled.Error()) {
		t.Errorf("got %q, want %q in it", e.Text, mfp.ErrStalled)
	}
	s.relay.set(func(r *relay) { r.stall = 0 })
	s.await(t, mfp.Installed)
}

func TestRefusedPasswordIsSaid(t *testing.T) {
	s := newSite(t)
	s.relay.password = "secret"
	defer s.run(t)()
	if e := s.await(t, mfp.Waiting); e.Status != 407 || !strings.Contains(e.Text, "the relay answered 407") {
		t.Errorf("got %+v", e)
	}
}

func TestReconnectsThePushChannel(t *testing.T) {
	s := newSite(t)
	s.relay.cut, s.relay.cuts = 4000, 100 // a few beats, or check-ins
	defer s.run(t)()
	s.await(t, mfp.PushOpened)
	s.await(t, mfp.PushOpened)
}

func TestPrinter(t *testing.T) {
	e := mfp.Event{Time: time.Date(2026, 12, 1, 2, 3, 4, 0, time.UTC), Device: "mfp-3", Kind: mfp.Waiting, Status: 503, RetryMS: 2000,
		Text: "waiting for its turn (503, retry in 2s)"}
	var text, lines bytes.Buffer
	mfp.Printer(&text, false)(e)
	mfp.Printer(&lines, true)(e)
	if got, want := text.String(), "mfp-3: waiting for its turn (503, retry in 2s)\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	want := `{"time":"2026-12-01T02:03:04Z","device":"mfp-3","event":"waiting","text":"waiting for its turn (503, retry in 2s)","status":503,"retryMs":2000}` + "\n"
	if got := lines.String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
