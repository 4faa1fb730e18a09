package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/client"
)

const batchSize = api.MaxBatchItems

// gateway posts numbered batches to a region that may die, each until it is acknowledged.
type gateway struct {
	token string
	next  int // the batch that is not acknowledged yet
}

// post sends batches until the region is gone, and tells acked of each. Every item is of a device of its own, so that a batch
// takes several transactions.
func (g *gateway) post(ctx context.Context, r *region, acked chan<- int) error {
	c, err := client.New(client.Options{
		URL: r.url, Gateway: "osaka-1", Token: mfpgate.Secret(g.token), RootCAs: r.roots, Clock: mfpgate.SystemClock{},
	})
	if err != nil {
		return err
	}
	defer c.Close()
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for {
		readings, alerts := api.TelemetryBatch{Stream: "a"}, api.AlertBatch{Stream: "a"}
		for i := range batchSize {
			n, device := uint64(g.next*batchSize+i+1), fmt.Sprint("dev_", i)
			readings.Items = append(readings.Items, api.TelemetryItem{Sequence: n, DeviceID: device, Reading: api.Reading{
				At: at.Add(time.Duration(n) * time.Second), Counters: []api.Counter{{Name: "impressions", Value: int64(g.next)}},
			}})
			alerts.Items = append(alerts.Items, api.AlertItem{Sequence: n, Alert: api.Alert{
				AlertID: fmt.Sprint("alt_", n), DeviceID: device, At: at, Code: "media-jam", Severity: "error", Cleared: g.next%2 == 1,
			}})
		}
		for _, send := range []func() (uint64, error){
			func() (uint64, error) { return c.PostTelemetry(ctx, readings) },
			func() (uint64, error) { return c.PostAlerts(ctx, alerts) },
		} {
			if last, err := send(); err != nil {
				return nil // killed
			} else if want := uint64((g.next + 1) * batchSize); last != want {
				return fmt.Errorf("batch %d: accepted %d, want %d", g.next, last, want)
			}
		}
		acked <- g.next
		g.next++
	}
}

func (g *gateway) get(t *testing.T, r *region, path string, out any) error {
	t.Helper()
	return r.call(t.Context(), http.MethodGet, "/v1/gateways/osaka-1/"+path, g.token, "", nil, out)
}

// A server that dies between the transactions of a batch, and a client that sends the batch again: each item is stored once.
func TestKillBetweenChunksStoresEachItemOnce(t *testing.T) {
	dir := t.TempDir()
	g := &gateway{token: output(t, "gateway", "add", "osaka-1", "--state", dir)}
	partly := 0
	for range 4 {
		r := serve(t, dir)
		acked, failed := make(chan int, 10_000), make(chan error, 1)
		var work sync.WaitGroup
		work.Go(func() { failed <- g.post(t.Context(), r, acked) })
		begun := <-acked
		// The first device of the next batch is stored: the region is between that batch's chunks, or was a moment ago.
		for deadline := time.Now().Add(time.Minute); ; {
			var d api.DeviceReading
			check(t, g.get(t, r, "devices/dev_0/reading", &d))
			if d.Counters.Items[0].Value > int64(begun) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("no batch begins")
			}
		}
		_ = r.end(t, syscall.SIGKILL)
		work.Wait()
		check(t, <-failed)

		r = serve(t, dir)
		first, last := new(api.DeviceReading), new(api.DeviceReading)
		check(t, g.get(t, r, "devices/dev_0/reading", first))
		check(t, g.get(t, r, fmt.Sprintf("devices/dev_%d/reading", batchSize-1), last))
		if first.Counters.Items[0].Value > last.Counters.Items[0].Value {
			partly++
		}
		check(t, r.end(t, syscall.SIGTERM))
	}
	t.Logf("%d of 4 kills were within a batch of readings", partly)

	r := serve(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	acked, ended := make(chan int, 10_000), make(chan error, 1)
	go func() { ended <- g.post(ctx, r, acked) }() // waited for below
	<-acked
	cancel()
	check(t, <-ended)
	batches := g.next // acknowledged; one more may be stored in part
	for i := range batchSize {
		var d api.DeviceReading
		check(t, g.get(t, r, fmt.Sprintf("devices/dev_%d/reading", i), &d))
		if n := len(d.CounterHistory); n < batches || n > batches+1 {
			t.Fatalf("dev_%d has %d readings, want %d or one more", i, n, batches)
		}
		for n, e := range d.CounterHistory {
			if e.Values["impressions"] != int64(n) {
				t.Fatalf("dev_%d: reading %d says %d", i, n, e.Values["impressions"])
			}
		}
	}
	number, kept := 0, 0
	for query := "?limit=500"; ; {
		var page api.Page[api.StoredAlert]
		check(t, g.get(t, r, "alerts"+query, &page))
		for _, a := range page.Items {
			var n int
			if _, err := fmt.Sscanf(a.AlertID, "alt_%d", &n); err != nil || number != 0 && n != number+1 {
				t.Fatalf("%s after alt_%d", a.AlertID, number)
			}
			number = n
			kept++
		}
		if page.NextCursor == "" {
			break
		}
		query = "?limit=500&cursor=" + page.NextCursor
	}
	if number < batches*batchSize || kept < min(2000, number) {
		t.Errorf("%d alerts are kept, the last alt_%d; acknowledged was alt_%d", kept, number, batches*batchSize)
	}
	check(t, r.end(t, syscall.SIGTERM))
}

func TestDeviceCommands(t *testing.T) {
	dir := t.TempDir()
	token := output(t, "gateway", "add", "osaka-1", "--state", dir)
	password := filepath.Join(dir, "password")
	check(t, os.WriteFile(password, []byte(output(t, "operator", "add", "hana", "--state", dir)+"\n"), 0o600))
	r := serve(t, dir)
	c, err := client.New(client.Options{URL: r.url, Gateway: "osaka-1", Token: mfpgate.Secret(token), RootCAs: r.roots, Clock: mfpgate.SystemClock{}})
	check(t, err)
	defer c.Close()
	_, err = c.PutDevice(t.Context(), api.Device{DeviceID: "dev_1", Name: "2F \x1b[31mcopier", Make: "Example", Model: "SIM", Serial: "A17", MonitoringMode: "proxy"}, "")
	check(t, err)
	for _, step := range []struct {
		rule, args string
		code       int
		text       string
	}{
		{"a list", "list osaka-1", 0, "2F ?[31mcopier  Example SIM  A17     proxy"},
		{"as JSON", "list osaka-1 --json", 0, `"deviceId": "dev_1"`},
		{"delete", "delete osaka-1 dev_1", 0, ""},
		{"delete what is gone", "delete osaka-1 dev_1", 1, "has not told of this device"},
	} {
		args := append([]string{"device"}, strings.Fields(step.args)...)
		args = append(args, "--url", r.url, "--operator", "hana", "--password-file", password, "--ca", filepath.Join(dir, "cert.pem"))
		var out strings.Builder
		if code := run(t.Context(), args, &out, &out); code != step.code || !strings.Contains(out.String(), step.text) {
			t.Errorf("%s: got %d %q, want %d %q", step.rule, code, out.String(), step.code, step.text)
		}
	}
	check(t, r.end(t, syscall.SIGTERM))
}
