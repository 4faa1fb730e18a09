package client_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/client"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

func TestDeliveriesAreFetchedForADevice(t *testing.T) {
	r := servertest.Start(t)
	c := connect(t, r.URL, r.Roots, r.Gateway(t, "osaka-1"), 20*time.Second)
	if _, _, err := c.CheckIn(t.Context(), "dev_1", "1.0", true, "k0"); !errors.Is(err, mfpgate.ErrRefused) {
		t.Errorf("a device that the region was not told of: %v", err)
	}
	_, err := c.PutDevice(t.Context(), api.Device{DeviceID: "dev_1", Model: "SIM-100", Serial: "1", MonitoringMode: "polling", Attachment: "usb"}, "")
	servertest.Must(t, err)
	order, again, err := c.CheckIn(t.Context(), "dev_1", strings.Repeat("long ", 100), true, "k1")
	if err != nil || order != nil || again != time.Second {
		t.Errorf("nothing is planned: %+v, again in %s, %v", order, again, err)
	}
	p := r.Package(t, "SIM-100", "2.0", 100_000)
	password := r.Operator(t, "hana")
	start := time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)
	operator(t, r, password, http.MethodPost, "/deliveries", api.Delivery{DeliveryID: "d1", DeviceID: "dev_1", PackageID: p.PackageID,
		Schedule: api.Schedule{StartUTC: &start}}, "Idempotency-Key", "x")
	order, _, err = c.CheckIn(t.Context(), "dev_1", "", false, "k2")
	servertest.Must(t, err)
	want := mfpgate.Package{ID: p.PackageID, Model: p.Model, Version: p.Version, Size: p.Size, SHA256: p.SHA256}
	if order == nil || order.Delivery != "d1" || order.Version != "1" || !order.Start.Equal(start) || order.Running || cmp.Diff(want, order.Package) != "" {
		t.Fatalf("the order: %+v", order)
	}
	err = c.Delivered(t.Context(), "dev_1", mfpgate.DeliveryReport{Delivery: "d1", Package: p.PackageID, State: mfpgate.DeliveryRunning}, "d1/1/started")
	if !errors.Is(err, mfpgate.ErrRefused) {
		t.Errorf("begun before its time: %v", err)
	}
	for range 2 { // the same once more
		servertest.Must(t, c.Delivered(t.Context(), "dev_1", mfpgate.DeliveryReport{Delivery: "d1", Package: p.PackageID, State: mfpgate.DeliveryFailed,
			Reason: "not-deliverable", Detail: strings.Repeat("it cannot take it ", 100), Final: true}, "d1/1/failed"))
	}

	var dialled atomic.Int64
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	sum := sha256.New()
	for _, part := range []struct{ from, to int64 }{{0, 60_000}, {60_000, 100_000}} {
		body, err := c.Package(t.Context(), dial, order.Package, part.from)
		servertest.Must(t, err)
		if body.Begins != part.from || body.Length != p.Size-part.from {
			t.Errorf("from %d: begins at %d, %d bytes", part.from, body.Begins, body.Length)
		}
		_, err = io.CopyN(sum, body, part.to-part.from)
		servertest.Must(t, err)
		servertest.Must(t, body.Close())
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != p.SHA256 || dialled.Load() != 2 {
		t.Errorf("two parts over %d connections have %s, not %s", dialled.Load(), got, p.SHA256)
	}
	if _, err := c.Package(t.Context(), dial, mfpgate.Package{ID: "../contract"}, 0); !errors.Is(err, mfpgate.ErrRefused) {
		t.Errorf("no such package: %v", err)
	}
}

func TestWhatIsNoPackageIsRefused(t *testing.T) {
	answer := func(http.ResponseWriter) {}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w) }))
	t.Cleanup(server.Close)
	c := connect(t, server.URL, nil, "t", 5*time.Second)
	good := `{"deliveryId":"d1","version":"1","startUtc":"2026-12-01T00:00:00Z","package":{"packageId":"p","model":"m","version":"2","size":%s,"sha256":%q,"createdAt":"2026-01-01T00:00:00Z"}}`
	digest := strings.Repeat("a", 64)
	for rule, order := range map[string]string{
		"no bytes":                  fmt.Sprintf(good, "0", digest),
		"a digest that is none":     fmt.Sprintf(good, "1", "../../etc/passwd"),
		"a digest in capitals":      fmt.Sprintf(good, "1", strings.Repeat("A", 64)),
		"no delivery":               strings.Replace(fmt.Sprintf(good, "1", digest), `"d1"`, `""`, 1),
		"a delivery that is long":   strings.Replace(fmt.Sprintf(good, "1", digest), `"d1"`, `"`+strings.Repeat("d", 65)+`"`, 1),
		"no package":                strings.Replace(fmt.Sprintf(good, "1", digest), `"p"`, `""`, 1),
		"a start that nobody means": strings.Replace(fmt.Sprintf(good, "1", digest), "2026-12-01", "9026-12-01", 1),
	} {
		answer = func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"pollInterval":"PT1H","delivery":`+order+`}`) }
		if got, _, err := c.CheckIn(t.Context(), "dev_1", "", true, "k"); !errors.Is(err, client.ErrAnswer) {
			t.Errorf("%s: %+v, %v", rule, got, err)
		}
	}
	for rule, head := range map[string]map[string]string{
		"another range":     {"Content-Range": "bytes 4-9/10"},
		"no range":          {},
		"a unit of its own": {"Content-Range": "pages 5-9/10"},
		"a coding":          {"Content-Range": "bytes 5-9/10", "Content-Encoding": "gzip"},
	} {
		answer = func(w http.ResponseWriter) {
			for name, value := range head {
				w.Header().Set(name, value)
			}
			w.WriteHeader(http.StatusPartialContent)
		}
		if _, err := c.Package(t.Context(), (&net.Dialer{}).DialContext, mfpgate.Package{ID: "p", Size: 10, SHA256: digest}, 5); !errors.Is(err, client.ErrAnswer) {
			t.Errorf("%s: %v", rule, err)
		}
	}
}
