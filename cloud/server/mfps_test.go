package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

func checkIn(firmware string) api.CheckIn {
	return api.CheckIn{Model: "SIM-100", Serial: "1", Firmware: firmware, State: "idle"}
}

func (c caller) post(t *testing.T, path, key string, body any) reply {
	t.Helper()
	return c.do(t, http.MethodPost, path, body, "Idempotency-Key", key)
}

func TestCheckInOffersTheLastPackageOfTheModel(t *testing.T) {
	r := servertest.Start(t)
	mfp := caller{r, r.HTTP(t), r.Device(t, "mfp-1")}
	const path = "/v1/devices/mfp-1/check-ins"
	got := decode[api.CheckInAnswer](t, mfp.post(t, path, "k1", checkIn("1.0")))
	if got.Package != nil || time.Duration(got.PollInterval) != time.Second {
		t.Errorf("without packages: got %+v", got)
	}
	r.Package(t, "SIM-200", "9.0", 10)
	r.Package(t, "SIM-100", "3.0", 10)
	want := r.Package(t, "SIM-100", "2.0", 10)
	got = decode[api.CheckInAnswer](t, mfp.post(t, path, "k2", checkIn("1.0")))
	if diff := cmp.Diff(&want, got.Package); diff != "" {
		t.Error(diff)
	}
	if got := decode[api.CheckInAnswer](t, mfp.post(t, path, "k3", checkIn("2.0"))); got.Package != nil {
		t.Errorf("a device that runs it is offered %+v", got.Package)
	}
	stopped := checkIn("1.0")
	stopped.State = "stopped"
	if got := decode[api.CheckInAnswer](t, mfp.post(t, path, "k4", stopped)); got.Package != nil {
		t.Errorf("a stopped device is offered %+v", got.Package)
	}
}

func TestReports(t *testing.T) {
	r := servertest.Start(t)
	mfp := caller{r, r.HTTP(t), r.Device(t, "mfp-1")}
	p := r.Package(t, "SIM-100", "2.0", 10)
	const path = "/v1/devices/mfp-1/reports"
	good := api.InstallReport{PackageID: p.PackageID, Outcome: api.OutcomeInstalled, Version: "2.0", SHA256: p.SHA256, Size: 10}
	failed := api.InstallReport{PackageID: p.PackageID, Outcome: api.OutcomeFailed, Reason: "digest-mismatch", Version: "1.0"}
	wrong := good
	wrong.SHA256 = strings.Repeat("0", 64)
	unknown := good
	unknown.PackageID = "pkg_x"

	if got := mfp.post(t, path, "k0", good); got.status != 409 || got.reason(t) != "not-checked-in" {
		t.Errorf("before a check-in: got %d %s", got.status, got.body)
	}
	decode[api.CheckInAnswer](t, mfp.post(t, "/v1/devices/mfp-1/check-ins", "k0", checkIn("1.0")))
	for _, c := range []struct {
		rule, key string
		body      api.InstallReport
		status    int
		reason    string
		firmware  string
		failures  int
	}{
		{"no key", "", good, 400, "idempotency-key-required", "1.0", 0},
		{"an empty key", `""`, good, 400, "idempotency-key-required", "1.0", 0},
		{"what was installed is not the package", "k1", wrong, 422, "digest-mismatch", "1.0", 0},
		{"no such package", "k2", unknown, 422, "unknown-package", "1.0", 0},
		{"a failure", "k3", failed, 201, "", "1.0", 1},
		{"the same request again counts once", "k3", failed, 201, "", "1.0", 1},
		{"the key with another body", "k3", good, 422, "idempotency-key-reuse", "1.0", 1},
		{"a second failure", "k4", failed, 201, "", "1.0", 2},
		{"success", "k5", good, 201, "", "2.0", 0},
	} {
		got := mfp.post(t, path, c.key, c.body)
		if got.status != c.status || got.reason(t) != c.reason {
			t.Errorf("%s: got %d %q, want %d %q", c.rule, got.status, got.reason(t), c.status, c.reason)
		}
		now := decode[api.MFP](t, mfp.do(t, http.MethodGet, "/v1/devices/mfp-1", nil))
		if now.Firmware != c.firmware || now.FailedAttempts != c.failures {
			t.Errorf("%s: the device runs %s with %d failures, want %s with %d", c.rule, now.Firmware, now.FailedAttempts, c.firmware, c.failures)
		}
	}
	list := decode[api.Page[api.StoredReport]](t, mfp.do(t, http.MethodGet, path, nil))
	var outcomes []string
	for _, s := range list.Items {
		outcomes = append(outcomes, s.Outcome)
	}
	if diff := cmp.Diff([]string{"failed", "failed", "installed"}, outcomes); diff != "" {
		t.Error(diff)
	}
}

func TestFirstAnswerIsGivenAgain(t *testing.T) {
	r := servertest.Start(t)
	mfp := caller{r, r.HTTP(t), r.Device(t, "mfp-1")}
	other := caller{r, r.HTTP(t), r.Device(t, "mfp-2")}
	const path = "/v1/devices/mfp-1/check-ins"
	first := mfp.post(t, path, "k", checkIn("1.0"))
	r.Package(t, "SIM-100", "2.0", 10)
	again := mfp.post(t, path, "k", checkIn("1.0"))
	if string(again.body) != string(first.body) || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("got %s (replayed: %q), want %s", again.body, again.header.Get("Idempotency-Replayed"), first.body)
	}
	if got := decode[api.CheckInAnswer](t, other.post(t, "/v1/devices/mfp-2/check-ins", "k", checkIn("1.0"))); got.Package == nil {
		t.Error("another caller's key is taken for this one's")
	}
	for i := range 16 { // the seventeenth key back is forgotten
		decode[api.CheckInAnswer](t, mfp.post(t, path, fmt.Sprint("k", i), checkIn("1.0")))
	}
	if got := decode[api.CheckInAnswer](t, mfp.post(t, path, "k", checkIn("1.0"))); got.Package == nil {
		t.Error("the oldest of seventeen keys is still remembered")
	}
}

func TestPackageThatFailedThreeTimesIsNotOffered(t *testing.T) {
	r := servertest.Start(t)
	mfp := caller{r, r.HTTP(t), r.Device(t, "mfp-1")}
	p := r.Package(t, "SIM-100", "2.0", 10)
	for i := range 3 {
		got := decode[api.CheckInAnswer](t, mfp.post(t, "/v1/devices/mfp-1/check-ins", fmt.Sprint(i), checkIn("1.0")))
		if got.Package == nil {
			t.Fatalf("attempt %d: nothing is offered", i)
		}
		decode[api.StoredReport](t, mfp.post(t, "/v1/devices/mfp-1/reports", fmt.Sprint(i),
			api.InstallReport{PackageID: p.PackageID, Outcome: api.OutcomeFailed, Version: "1.0"}))
	}
	if got := decode[api.CheckInAnswer](t, mfp.post(t, "/v1/devices/mfp-1/check-ins", "3", checkIn("1.0"))); got.Package != nil {
		t.Errorf("offered again: %+v", got.Package)
	}
	r.Package(t, "SIM-100", "2.1", 10)
	if got := decode[api.CheckInAnswer](t, mfp.post(t, "/v1/devices/mfp-1/check-ins", "4", checkIn("1.0"))); got.Package == nil {
		t.Error("the next version is not offered")
	}
}

func TestPushChannel(t *testing.T) {
	r := servertest.Start(t)
	mfp := caller{r, r.HTTP(t), r.Device(t, "mfp-1")}
	decode[api.CheckInAnswer](t, mfp.post(t, "/v1/devices/mfp-1/check-ins", "k", checkIn("1.0")))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL+"/v1/devices/mfp-1/push", nil)
	servertest.Must(t, err)
	req.Header.Set("Authorization", "Bearer "+mfp.token.Reveal())
	res, err := mfp.http.Do(req)
	servertest.Must(t, err)
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	next := func(prefix string) string {
		t.Helper()
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), prefix) {
				return lines.Text()
			}
		}
		t.Fatalf("the channel ended before %q: %v", prefix, lines.Err())
		return ""
	}
	next(": open")
	next(": beat")
	want := r.Package(t, "SIM-100", "2.0", 10)
	next("event: offer")
	var got api.Package
	servertest.Must(t, json.Unmarshal([]byte(strings.TrimPrefix(next("data: "), "data: ")), &got))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for range 3 {
		if line := next(""); line != "" && line != ": beat" {
			t.Errorf("after the offer came %q, want a beat: one package is told once", line)
		}
	}
	stopped := make(chan struct{})
	go func() { r.Stop(); close(stopped) }() // the test waits for stopped
	next("event: bye")
	<-stopped
}
