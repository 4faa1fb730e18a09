package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/client"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/discovery/report"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/badger"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

// weather is what is wrong between a gateway and its region.
type weather int32

const (
	fair      weather = iota
	closed            // connections are closed at once
	refusing          // 503
	hanging           // no answer
	stranger          // a certificate of somebody else
	deaf              // the region takes it, and the answer is lost
	forgotten         // 401
	weathers
)

// front stands before a region.
type front struct {
	*httptest.Server
	now  atomic.Int32
	seen [weathers]atomic.Int64 // calls or, of closed and stranger, connections
}

func (f *front) weather() weather { return weather(f.now.Load()) }

func (f *front) set(w weather) {
	f.now.Store(int32(w))
	f.CloseClientConnections()
}

// Accept of a listener that may slam the door.
type slamming struct {
	net.Listener
	front *front
}

func (l slamming) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil || l.front.weather() != closed {
			return c, err
		}
		l.front.seen[closed].Add(1)
		_ = c.Close()
	}
}

func newFront(t *testing.T, region *servertest.Region) *front {
	t.Helper()
	to, err := url.Parse(region.URL)
	servertest.Must(t, err)
	folder, err := provision.Open(t.TempDir(), mfpgate.SystemClock{})
	servertest.Must(t, err)
	other, err := folder.Certificate([]string{"127.0.0.1"})
	servertest.Must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport = region.HTTP(t).Transport
	f := &front{}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := f.weather()
		f.seen[now].Add(1)
		switch now {
		case refusing:
			w.WriteHeader(http.StatusServiceUnavailable)
		case forgotten:
			w.WriteHeader(http.StatusUnauthorized)
		case hanging:
			_, _ = io.Copy(io.Discard, r.Body) // else the server does not see that the caller has left
			<-r.Context().Done()
		case stranger, closed: // over a connection of better weather
			panic(http.ErrAbortHandler)
		case deaf:
			proxy.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	f.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of each certificate that is refused
	f.Listener = slamming{f.Listener, f}
	f.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if f.weather() == stranger {
			f.seen[stranger].Add(1)
			return &tls.Config{Certificates: []tls.Certificate{other}}, nil
		}
		return nil, nil
	}}
	f.StartTLS()
	t.Cleanup(f.Close)
	return f
}

// desk is the way of reports from the reporter to the region, on a store on disk.
type desk struct {
	*Daemon
	t     *testing.T
	clock *fakeclock.Clock
	front *front
	facts store.Store // the region's
}

func newDesk(t *testing.T, limit bounds) *desk {
	t.Helper()
	d := &desk{t: t, clock: fakeclock.New(time.Now().Add(-48 * time.Hour).Truncate(time.Hour)), facts: memory.New()}
	region := servertest.StartOn(t, d.facts)
	d.front = newFront(t, region)
	token := region.Gateway(t, "osaka-1")
	d.Daemon = &Daemon{Options: Options{Clock: d.clock}, metrics: telemetry.NewMetrics()}
	d.log = telemetry.NewLogger(&logged{}, d.clock, &d.level, false)
	d.health = newHealth(d.Daemon)
	u, err := url.Parse(d.front.URL)
	servertest.Must(t, err)
	cfg := &config.Config{Site: config.Site{Name: "osaka"}, Cloud: config.Cloud{URL: u, GatewayID: "osaka-1", Token: token}}
	d.config.Store(cfg)
	d.db, err = badger.Open(t.Context(), badger.Options{Dir: filepath.Join(t.TempDir(), "store"), Clock: d.clock, BallastSize: 1 << 20})
	servertest.Must(t, err)
	t.Cleanup(func() { servertest.Must(t, d.db.Close()) })
	d.local = store.Prefix(d.db, "local/")
	d.contracts, err = newContracts(t.Context(), d.Daemon)
	servertest.Must(t, err)
	d.upload, err = newUpload(t.Context(), d.Daemon, limit)
	servertest.Must(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(d.front.Certificate())
	d.clouds.of = cfg.Cloud
	d.clouds.client, err = client.New(client.Options{URL: d.front.URL, Gateway: "osaka-1", Token: token, Clock: d.clock, RootCAs: roots,
		Timeout: 2 * time.Second})
	servertest.Must(t, err)
	t.Cleanup(d.clouds.close)
	return d
}

// run runs one part until the test ends, or until the returned function has ended it.
func (d *desk) run(part func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- part(ctx) }()
	stop = func() {
		cancel()
		if done != nil {
			if err := <-done; err != nil {
				d.t.Error(err)
			}
			done = nil
		}
	}
	d.t.Cleanup(stop)
	return stop
}

// pass lets time go by until something is reached.
func (d *desk) pass(what string, reached func() bool) {
	d.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	awaitState(d.t, what, func() bool {
		if reached() {
			return true
		}
		d.clock.Advance(time.Second)
		<-tick.C
		return false
	})
}

func (d *desk) stats(q *journal.Queue) journal.QueueStats {
	d.t.Helper()
	s, err := q.Stats(d.t.Context())
	servertest.Must(d.t, err)
	return s
}

// stream is how far the region is.
func (d *desk) stream(kind string) (s struct{ Last, Missing uint64 }) {
	d.t.Helper()
	servertest.Must(d.t, d.facts.View(d.t.Context(), func(at store.Snapshot) error { return store.GetJSON(at, "stream/osaka-1/"+kind, &s) }))
	return s
}

// metric is how many reports of a queue were dropped, as /metrics says it.
func (d *desk) metric(queue string) string {
	w := httptest.NewRecorder()
	d.metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	_, text, _ := strings.Cut(w.Body.String(), `mfpgate_reports_dropped{queue="`+queue+`"} `)
	text, _, _ = strings.Cut(text, "\n")
	return text
}

// delivered are the region's alerts, in its order.
func (d *desk) delivered() (lines []string, ids map[string]bool) {
	d.t.Helper()
	ids = map[string]bool{}
	for cursor := ""; ; {
		page, err := d.clouds.client.Alerts(d.t.Context(), false, cursor)
		servertest.Must(d.t, err)
		for _, a := range page.Items {
			lines = append(lines, fmt.Sprintf("%s %s %s %v", a.At.Format(time.RFC3339), a.DeviceID, a.Code, a.Cleared))
			ids[a.AlertID] = true
		}
		if cursor = page.NextCursor; cursor == "" {
			return lines, ids
		}
	}
}

// TestADayWithoutTheCloud sends the reports of 200 devices through a day in which the cloud is away in every way, and then
// loses the answers to what it takes. Every alert arrives once and in order; of the readings, only the oldest are missing.
func TestADayWithoutTheCloud(t *testing.T) {
	const devices, keep = 200, 1500
	limit := uploadBounds
	limit.telemetry.MaxRows = keep
	d := newDesk(t, limit)
	d.run(d.upload.run)
	random := rand.New(rand.NewPCG(1, 2))
	codes := []string{"media-empty", "toner-low", "cover-open"}
	open := make([]string, devices) // what is wrong with each now
	var want []string
	hour := 0
	reporter := func() *report.Reporter {
		return report.New(report.Options{Clock: d.clock, Store: d.local, Telemetry: d.upload.telemetry, Alerts: d.upload.alerts,
			Heartbeat: func() time.Duration { return 24 * time.Hour }, Failed: func(err error) { t.Error(err) }})
	}
	id := func(n int) mfpgate.DeviceID { return mfpgate.DeviceID(fmt.Sprintf("dev_%03d", n)) }
	answers := func() { // every device answers once
		hour++
		r := reporter()
		stop := d.run(r.Run)
		for n := range devices {
			now := d.clock.Now()
			say := func(code string, cleared bool) {
				want = append(want, fmt.Sprintf("%s %s %s %v", now.UTC().Format(time.RFC3339), id(n), code, cleared))
			}
			if random.IntN(8) == 0 {
				next := codes[random.IntN(len(codes))]
				if before := open[n]; before == next {
					next = ""
					say(before, true)
				} else {
					if before != "" {
						say(before, true)
					}
					say(next, false)
				}
				open[n] = next
			}
			status := mfpgate.PrinterStatus{State: mfpgate.PrinterIdle}
			if open[n] != "" {
				status.Reasons = []string{open[n] + "-warning"}
			}
			r.Took(t.Context(), mfpgate.Device{ID: id(n), State: mfpgate.DeviceOnline, MonitoringMode: mfpgate.MonitoringPolling},
				mfpgate.Reading{At: now, Status: &status, Counters: []mfpgate.Counter{{Name: "impressions", Value: int64(hour*1000 + n)}}})
		}
		stop() // writes what waits; the next reporter goes on from the store, as after a restart
	}
	answers()
	d.pass("the first hour is delivered", func() bool { return d.stats(d.upload.telemetry).Rows+d.stats(d.upload.alerts).Rows == 0 })

	away := []weather{closed, refusing, hanging, stranger, forgotten, closed}
	for h := range 24 {
		if h%4 == 0 {
			d.front.set(away[h/4])
		}
		answers()
		for range 60 {
			d.clock.Advance(time.Minute)
		}
		if h%4 == 3 {
			d.pass("it was tried", func() bool { return d.front.seen[away[h/4]].Load() > 0 })
		}
	}
	lost := uint64(24*devices - keep)
	d.pass("the loss is told", func() bool {
		return strings.Contains(d.degraded(ReportsDropped), fmt.Sprintf("%d readings and 0 alerts", lost))
	})
	if got := d.metric("telemetry"); got != fmt.Sprint(lost) {
		t.Errorf("the metric counts %v dropped readings, want %d", got, lost)
	}
	if s := d.stats(d.upload.alerts); s.Dropped != 0 || s.Rows == 0 {
		t.Errorf("alerts that wait: %+v", s)
	}

	d.front.set(deaf)
	d.pass("answers were lost", func() bool { return d.front.seen[deaf].Load() >= 6 })
	d.front.set(fair)
	d.pass("all is delivered", func() bool { return d.stats(d.upload.telemetry).Rows+d.stats(d.upload.alerts).Rows == 0 })
	got, ids := d.delivered()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("alerts, in order (-want +got):\n%s", diff)
	}
	if len(ids) != len(want) {
		t.Errorf("%d ids of %d alerts", len(ids), len(want))
	}
	if s := d.stream("telemetry"); s.Last != 25*devices || s.Missing != lost {
		t.Errorf("the region has readings to %d and misses %d, want %d and %d", s.Last, s.Missing, 25*devices, lost)
	}
	if s := d.stream("alerts"); s.Last != uint64(len(want)) || s.Missing != 0 {
		t.Errorf("the region has alerts to %d and misses %d, want %d and none", s.Last, s.Missing, len(want))
	}
	for n := range devices {
		r, _, err := d.clouds.client.Reading(t.Context(), id(n))
		servertest.Must(t, err)
		var hours, kept []int64
		for h := int64(25); h > 17; h-- { // 1500 rows are the last seven hours and half of the one before
			if h > 18 || n >= devices/2 {
				kept = append(kept, h*1000+int64(n))
			}
		}
		kept = append(kept, 1000+int64(n)) // before the day
		slices.Reverse(kept)
		for _, e := range r.CounterHistory {
			hours = append(hours, e.Values["impressions"])
		}
		if diff := cmp.Diff(kept, hours); diff != "" {
			t.Fatalf("counters of %s (-want +got):\n%s", id(n), diff)
		}
	}
	d.pass("the loss is over", func() bool { return d.degraded(ReportsDropped) == "" })
	t.Logf("%d alerts and %d readings, %d of them dropped; calls by weather: %v", len(want), 25*devices, lost, calls(d.front))
}

func calls(f *front) (n []int64) {
	for w := range weathers {
		n = append(n, f.seen[w].Load())
	}
	return n
}

// TestDroppedAlertsAreTold: also the queue of alerts has a bound.
func TestDroppedAlertsAreTold(t *testing.T) {
	limit := uploadBounds
	limit.alerts.MaxRows = 3
	d := newDesk(t, limit)
	d.front.set(closed)
	for n := range 5 {
		_, err := d.upload.alerts.Put(t.Context(), alertRow(t, fmt.Sprintf("alt_%d", n)))
		servertest.Must(t, err)
	}
	d.upload.look(t.Context())
	if text := d.degraded(ReportsDropped); !strings.Contains(text, "0 readings and 2 alerts") {
		t.Errorf("degraded: %q", text)
	}
	if got := d.metric("alerts"); got != "2" {
		t.Errorf("metric: %v", got)
	}
}

func alertRow(t *testing.T, id string) json.RawMessage {
	t.Helper()
	data, err := json.Marshal(mfpgate.Alert{ID: id, Device: "dev_1", At: time.Now().UTC(), Code: "jam", Severity: mfpgate.AlertError})
	servertest.Must(t, err)
	return data
}

// TestARowThatCannotBeSentHoldsUpNone: neither one that the region refuses nor one that nobody can read.
func TestARowThatCannotBeSentHoldsUpNone(t *testing.T) {
	d := newDesk(t, uploadBounds)
	_, err := d.upload.alerts.Put(t.Context(), alertRow(t, "alt_1"), alertRow(t, "no id!"), json.RawMessage(`"no alert"`), alertRow(t, "alt_2"))
	servertest.Must(t, err)
	d.run(d.upload.run)
	d.pass("the queue is empty", func() bool { return d.stats(d.upload.alerts).Rows == 0 })
	if _, ids := d.delivered(); !ids["alt_1"] || !ids["alt_2"] || len(ids) != 2 {
		t.Errorf("delivered: %v", ids)
	}
}

// TestAStoreFromTheDayBefore: a gateway whose machine was set back uses a stream that the region knows as ended.
func TestAStoreFromTheDayBefore(t *testing.T) {
	d := newDesk(t, uploadBounds)
	for _, stream := range []string{"a", "b"} {
		_, err := d.clouds.client.PostAlerts(t.Context(), api.AlertBatch{Stream: stream, Items: []api.AlertItem{{Sequence: 1, Alert: api.Alert{
			AlertID: "alt_" + stream, DeviceID: "dev_1", At: time.Now(), Code: "jam", Severity: "error"}}}})
		servertest.Must(t, err)
	}
	_, err := d.upload.alerts.Put(t.Context(), alertRow(t, "alt_1"), alertRow(t, "alt_2"))
	servertest.Must(t, err)
	servertest.Must(t, d.local.Update(t.Context(), func(tx store.Tx) error { // as it was in stream a
		var tail map[string]any
		if err := store.GetJSON(tx, "journal/queue/alerts/tail", &tail); err != nil {
			return err
		}
		tail["stream"] = "a"
		return store.SetJSON(tx, "journal/queue/alerts/tail", tail)
	}))
	d.run(d.upload.run)
	d.pass("the queue is empty", func() bool { return d.stats(d.upload.alerts).Rows == 0 })
	if _, ids := d.delivered(); len(ids) != 4 {
		t.Errorf("delivered: %v", ids)
	}
}

// TestARecoveredStoreBeginsNewStreams, once for each recovery.
func TestARecoveredStoreBeginsNewStreams(t *testing.T) {
	d := newDesk(t, uploadBounds)
	_, err := d.upload.alerts.Put(t.Context(), alertRow(t, "alt_1"))
	servertest.Must(t, err)
	j, err := journal.New(d.local, journal.Options{Clock: d.clock, Rand: rand.New(rand.NewPCG(1, 1))})
	servertest.Must(t, err)
	seen := []string{d.stats(d.upload.alerts).Stream}
	for _, at := range []time.Duration{0, 0, time.Hour} {
		servertest.Must(t, renewStreams(t.Context(), d.local, j, &store.Recovery{At: d.clock.Now().Add(at)}))
		seen = append(seen, d.stats(d.upload.alerts).Stream)
	}
	if seen[0] == seen[1] || seen[1] != seen[2] || seen[2] == seen[3] {
		t.Errorf("streams: %v", seen)
	}
}
