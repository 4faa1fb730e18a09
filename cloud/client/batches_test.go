package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/client"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

func telemetry(stream string, sequences ...uint64) api.TelemetryBatch {
	b := api.TelemetryBatch{Stream: stream}
	for _, n := range sequences {
		b.Items = append(b.Items, api.TelemetryItem{Sequence: n, DeviceID: "dev_1", Reading: api.Reading{
			At: time.Date(2026, 11, 1, 0, 0, int(n%60), 0, time.UTC), Status: &api.Status{State: "idle"},
		}})
	}
	return b
}

func TestWhatIsPostedIsThere(t *testing.T) {
	r := servertest.Start(t)
	c := connect(t, r.URL, r.Roots, r.Gateway(t, "osaka-1"), 20*time.Second)
	for range 2 { // a caller whose answer was lost
		if got, err := c.PostTelemetry(t.Context(), telemetry("a", 1, 2, 5)); err != nil || got != 5 {
			t.Errorf("telemetry: got %d, %v", got, err)
		}
		want := mfpgate.Alert{ID: "alt_1", Device: "dev_1", At: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Code: "offline", Severity: mfpgate.AlertError}
		if got, err := c.PostAlerts(t.Context(), api.AlertBatch{Stream: "a", Items: []api.AlertItem{{Sequence: 1, Alert: api.FromAlert(want)}}}); err != nil || got != 1 {
			t.Errorf("alerts: got %d, %v", got, err)
		}
		for _, open := range []bool{false, true} {
			page, err := c.Alerts(t.Context(), open, "")
			if err != nil || len(page.Items) != 1 || page.Items[0].Root() != want {
				t.Errorf("open %v: got %+v, %v", open, page.Items, err)
			}
		}
	}
	reading, tag, err := c.Reading(t.Context(), "dev_1")
	if err != nil || tag == "" || reading.Status.State != "idle" || reading.Status.At.Second() != 5 {
		t.Errorf("reading %+v, tag %q, %v", reading, tag, err)
	}
	if _, err := c.PostTelemetry(t.Context(), telemetry("b", 1)); err != nil {
		t.Error(err)
	}
	var refusal *client.Error
	if _, err := c.PostTelemetry(t.Context(), telemetry("a", 6)); !errors.As(err, &refusal) || refusal.Reason() != api.StreamEnded {
		t.Errorf("an ended stream: got %v", err)
	}
}

func TestDevicesAreDeletedUnderTheirTag(t *testing.T) {
	r := servertest.Start(t)
	c := connect(t, r.URL, r.Roots, r.Gateway(t, "osaka-1"), 20*time.Second)
	tokyo, err := client.New(client.Options{URL: r.URL, Gateway: "tokyo-1", Token: r.Gateway(t, "tokyo-1"), RootCAs: r.Roots, Clock: mfpgate.SystemClock{}})
	servertest.Must(t, err)
	defer tokyo.Close()
	d := api.Device{DeviceID: "dev_1", Make: "Example", Model: "SIM-100", Serial: "A17", MonitoringMode: "polling"}
	tag, err := c.PutDevice(t.Context(), d, "")
	servertest.Must(t, err)
	var refusal *client.Error
	if _, err := tokyo.PutDevice(t.Context(), d, ""); !errors.As(err, &refusal) || refusal.Reason() != api.DeviceTaken || !strings.Contains(err.Error(), "osaka-1") {
		t.Errorf("taken: got %v", err)
	}
	for etag, status := range map[string]int{`"9"`: 412, "": 428} {
		if err := c.DeleteDevice(t.Context(), "dev_1", etag); !errors.As(err, &refusal) || refusal.Problem.Status != status {
			t.Errorf("tag %q: got %v, want %d", etag, err, status)
		}
	}
	servertest.Must(t, c.DeleteDevice(t.Context(), "dev_1", tag))
	if err := c.DeleteDevice(t.Context(), "dev_1", tag); !errors.As(err, &refusal) || refusal.Problem.Status != 404 {
		t.Errorf("again: got %v, want 404", err)
	}
	_, err = tokyo.PutDevice(t.Context(), d, "")
	servertest.Must(t, err)
}

func TestBatchesThatARegionWouldRefuseAreNotSent(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was sent") }))
	defer srv.Close()
	c := connect(t, srv.URL, nil, "t", 20*time.Second)
	large := telemetry("a", slices.Collect(func(yield func(uint64) bool) {
		for n := uint64(1); n <= 200 && yield(n); n++ {
		}
	})...)
	for i := range large.Items {
		large.Items[i].Reading.Supplies = slices.Repeat([]api.Supply{{Name: strings.Repeat("x", 128)}}, 40)
	}
	for rule, b := range map[string]api.TelemetryBatch{
		"no items": telemetry("a"), "sequence 0": telemetry("a", 0), "sequences that fall": telemetry("a", 2, 1), "twice the same": telemetry("a", 1, 1),
		"too many": telemetry("a", make([]uint64, 201)...), "too long": large,
	} {
		if _, err := c.PostTelemetry(t.Context(), b); !errors.Is(err, client.ErrBatch) {
			t.Errorf("%s: got %v, want ErrBatch", rule, err)
		}
	}
}

func TestKeyFollowsFromTheItems(t *testing.T) {
	var got []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b api.TelemetryBatch
		data, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(data, &b)
		got = append(got, fmt.Sprint(r.Header.Get("Idempotency-Key"), " ", len(b.Items)))
		_, _ = fmt.Fprintf(w, `{"stream":%q,"accepted":9}`, map[bool]string{true: b.Stream, false: "other"}[b.Stream != "c"])
	}))
	defer srv.Close()
	c := connect(t, srv.URL, nil, "t", 20*time.Second)
	for _, b := range []api.TelemetryBatch{telemetry("a", 3, 4, 9), telemetry("a", 3, 4, 9), telemetry("a", 3), telemetry("b", 3, 9)} {
		if accepted, err := c.PostTelemetry(t.Context(), b); err != nil || accepted != 9 {
			t.Errorf("got %d, %v", accepted, err)
		}
	}
	if _, err := c.PostTelemetry(t.Context(), telemetry("c", 1)); !errors.Is(err, client.ErrAnswer) {
		t.Errorf("an answer about another stream: got %v, want ErrAnswer", err)
	}
	want := []string{"telemetry/a/3-9 3", "telemetry/a/3-9 3", "telemetry/a/3-3 1", "telemetry/b/3-9 2", "telemetry/c/1-1 1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
