package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/client"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/proxy"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/usb/delivery"
)

// labels is a printer on USB that takes packages.
type labels struct {
	mu   sync.Mutex
	jobs [][]byte
	at   []time.Time
}

func (l *labels) TakesPackages(id mfpgate.SightingID) bool { return id == "usb:1-1" }

func (l *labels) Print(_ context.Context, _ mfpgate.SightingID, doc mfpgate.Document, _ func(mfpgate.JobStatus)) (mfpgate.JobStatus, error) {
	got, err := io.ReadAll(doc.Content)
	if err != nil {
		return mfpgate.JobStatus{State: mfpgate.JobAborted}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs, l.at = append(l.jobs, got), append(l.at, time.Now())
	return mfpgate.JobStatus{State: mfpgate.JobCompleted, Sent: int64(len(got)), Reasons: []string{"queued-in-device"}}, nil
}

// TestSoftwareComesOverUSB is the whole story with a region, the relay and the gateway's client; the printer alone is a stand-in.
func TestSoftwareComesOverUSB(t *testing.T) {
	r := servertest.Start(t)
	token := r.Gateway(t, "osaka-1")
	servertest.Must(t, r.Folder.ChangeContract("osaka-1", func(c *api.Contract) { c.LeadTime = 0 }))
	base, err := url.Parse(r.URL)
	servertest.Must(t, err)
	port, err := strconv.ParseUint(base.Port(), 10, 16)
	servertest.Must(t, err)
	host, err := mfpgate.ParseHostPattern(base.Hostname())
	servertest.Must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	d := &Daemon{Options: Options{Clock: mfpgate.SystemClock{}}, metrics: telemetry.NewMetrics(), log: telemetry.Discard(), local: memory.New()}
	cfg := &config.Config{StateDir: t.TempDir(), Cloud: config.Cloud{URL: base, GatewayID: "osaka-1", Token: token}}
	d.config.Store(cfg)
	told := make(chan proxy.Transfer, 10)
	d.relay, err = proxy.New(proxy.Options{Name: "test", Clock: d.Clock, Log: d.log, Metrics: d.metrics, Descriptors: 4096,
		Transferred: func(x proxy.Transfer) { told <- x }},
		&proxy.Policy{Allow: []mfpgate.AllowRule{{Host: host, Ports: []uint16{uint16(port)}, Private: true}}, Linger: time.Minute, QueueTimeout: time.Minute,
			Capacity: func(time.Time) (int, time.Time) { return 1, time.Time{} }, DialTimeout: 10 * time.Second, Idle: time.Minute, Rate: 100 << 20})
	servertest.Must(t, err)
	c, err := client.New(client.Options{URL: r.URL, Gateway: "osaka-1", Token: token, Clock: d.Clock, RootCAs: r.Roots})
	servertest.Must(t, err)
	d.clouds.of, d.clouds.client = cfg.Cloud, c // one that knows the region's certificate
	defer d.clouds.close()

	v := mfpgate.Device{ID: "dev_usb", Name: "labels", Make: "Example", Model: "LP-1", Serial: "S1", Attachment: mfpgate.AttachmentUSB, Firmware: "1.0",
		MonitoringMode: mfpgate.MonitoringPolling, State: mfpgate.DeviceOnline, USB: &mfpgate.USBPort{Bus: "1-1", Mode: mfpgate.USBModeRaw}}
	_, err = c.PutDevice(ctx, api.FromDevice(v, "", "osaka", "Asia/Tokyo"), "")
	servertest.Must(t, err)
	p := r.Package(t, "LP-1", "2.0", 3<<20)
	password := r.Operator(t, "hana")
	start := time.Now().Add(2 * time.Second).UTC()
	end := start.Add(time.Hour)
	plan := api.Delivery{DeliveryID: "d1", DeviceID: "dev_usb", PackageID: p.PackageID, Bytes: p.Size, Schedule: api.Schedule{StartUTC: &start}, Window: &api.StartWindow{LatestEnd: &end}}
	ask(ctx, t, r, password, http.MethodPost, "/v1/gateways/osaka-1/deliveries", plan, nil)

	printer := &labels{}
	o := deliveryOptions(d, printer)
	o.Devices = func() []mfpgate.Device { return []mfpgate.Device{v} }
	o.Print = func(ctx context.Context, _ mfpgate.DeviceID, doc mfpgate.Document, told func(mfpgate.JobStatus)) (mfpgate.JobStatus, error) {
		return printer.Print(ctx, sightingOf(v), doc, told)
	}
	deliveries, err := delivery.New(o)
	servertest.Must(t, err)
	running, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { _ = d.relay.Run(running) })
	work.Go(func() { _ = deliveries.Run(running) })
	defer work.Wait()
	defer stop()

	var now api.Delivery
	for now.State != "done" {
		if err := mfpgate.Wait(ctx, d.Clock, 50*time.Millisecond); err != nil {
			t.Fatalf("the delivery is %s %s", now.State, now.Reason)
		}
		ask(ctx, t, r, password, http.MethodGet, "/v1/gateways/osaka-1/deliveries/d1", nil, &now)
	}
	printer.mu.Lock()
	defer printer.mu.Unlock()
	want, err := r.Folder.OpenContent(p)
	servertest.Must(t, err)
	defer want.Close()
	bytesOf, err := io.ReadAll(want)
	servertest.Must(t, err)
	if len(printer.jobs) != 1 || !bytes.Equal(printer.jobs[0], bytesOf) || printer.at[0].Before(start) {
		t.Errorf("%d jobs, at %v; planned for %v", len(printer.jobs), printer.at, start)
	}
	if x := <-told; x.Device != "dev_usb" || x.Down < p.Size || x.Ended.Sub(x.Began) <= 0 {
		t.Errorf("the scheduler is told of %+v", x)
	}
	if s := d.relay.Slots(); s.Served != 0 {
		t.Errorf("%d slots are held", s.Served)
	}
}

// ask is an operator's request.
func ask(ctx context.Context, t *testing.T, r *servertest.Region, password mfpgate.Secret, method, path string, in, out any) {
	t.Helper()
	text, err := json.Marshal(in)
	servertest.Must(t, err)
	req, err := http.NewRequestWithContext(ctx, method, r.URL+path, bytes.NewReader(text))
	servertest.Must(t, err)
	req.SetBasicAuth("hana", password.Reveal())
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", "k")
	res, err := r.HTTP(t).Do(req)
	servertest.Must(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	servertest.Must(t, err)
	if res.StatusCode >= 300 {
		t.Fatal(fmt.Sprint(method, " ", path, ": ", res.Status, " ", string(body)))
	}
	if out != nil {
		servertest.Must(t, json.Unmarshal(body, out))
	}
}
