package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/client"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

// deliverySystem is the port that the gateway's scheduler declares.
type deliverySystem interface {
	Changes(ctx context.Context, window mfpgate.Interval, since string) (mfpgate.ScheduleChanges, error)
	Background(ctx context.Context, version string) ([]mfpgate.Background, string, error)
	Report(ctx context.Context, r mfpgate.OverloadReport) error
	Propose(ctx context.Context, p mfpgate.Proposal) (mfpgate.ProposalOutcome, error)
	Outcome(ctx context.Context, proposal string) (mfpgate.ProposalOutcome, error)
	Withdraw(ctx context.Context, proposal string) error
	Events(ctx context.Context, after uint64, wait time.Duration) (events []mfpgate.ScheduleEvent, next uint64, lost bool, err error)
}

var _ deliverySystem = (*client.Client)(nil)

// operator sends a request in an operator's name.
func operator(t *testing.T, r *servertest.Region, password mfpgate.Secret, method, path string, body any, headers ...string) {
	t.Helper()
	data, err := json.Marshal(body)
	servertest.Must(t, err)
	req, err := http.NewRequestWithContext(t.Context(), method, r.URL+"/v1/gateways/osaka-1/"+path, strings.NewReader(string(data)))
	servertest.Must(t, err)
	req.SetBasicAuth("hana", password.Reveal())
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := r.HTTP(t).Do(req)
	servertest.Must(t, err)
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %s", method, path, res.Status, text)
	}
}

func TestScheduleAgainstTheRegion(t *testing.T) {
	r := servertest.Start(t)
	c := connect(t, r.URL, r.Roots, r.Gateway(t, "osaka-1"), 20*time.Second)
	servertest.Must(t, r.Folder.ChangeContract("osaka-1", func(c *api.Contract) {
		c.Mode, c.MaxConcurrent, c.LeadTime = "auto", 1, api.Duration(time.Minute)
	}))
	password, now := r.Operator(t, "hana"), mfpgate.SystemClock{}.Now()
	start := now.Add(10 * time.Hour).UTC().Truncate(5 * time.Minute)
	var items []api.Delivery
	for n := range 600 { // more than one page
		id := fmt.Sprintf("dev_%d", n)
		if n < 3 {
			_, err := c.PutDevice(t.Context(), api.Device{DeviceID: id, Model: "SIM-100", Serial: id + "x", MonitoringMode: "proxy"}, "")
			servertest.Must(t, err)
		}
		items = append(items, api.Delivery{DeliveryID: fmt.Sprintf("d%03d", n), DeviceID: fmt.Sprintf("dev_%d", n%3), Schedule: api.Schedule{StartUTC: &start},
			Duration: &api.Estimate{P50: api.Duration(time.Minute), P95: api.Duration(2 * time.Minute)}})
	}
	operator(t, r, password, "POST", "deliveries:batch?allowOverload=true", map[string]any{"items": items}, "Idempotency-Key", "k")
	window := mfpgate.Interval{From: now, To: start.Add(time.Hour)}
	all, err := c.Changes(t.Context(), window, "")
	if err != nil || !all.Whole || len(all.Deliveries) != 600 || all.Deliveries[7].ID != "d007" || !all.Deliveries[7].Schedule.Start.Equal(start) {
		t.Fatalf("%v; %d deliveries", err, len(all.Deliveries))
	}
	operator(t, r, password, "PUT", "background-schedules/meter", api.BackgroundSchedule{ServiceID: "meter", Cron: "0 3 * * *", Duration: api.Duration(time.Minute), Concurrency: 1}, "If-None-Match", "*")
	background, version, err := c.Background(t.Context(), "")
	if err != nil || len(background) != 1 || background[0].ID != "meter" {
		t.Errorf("%v; %+v", err, background)
	}
	if _, _, err := c.Background(t.Context(), version); !errors.Is(err, mfpgate.ErrUnchanged) {
		t.Errorf("unchanged: %v", err)
	}
	band := mfpgate.Band{ID: "band_1", From: start, To: start.Add(2 * time.Minute), Capacity: 1, Peak: 3, PeakAt: start, Excess: time.Minute, Certainty: mfpgate.OverloadCertain}
	rep := mfpgate.OverloadReport{ID: "rep_1", ComputedAt: now, Horizon: window, Bands: []mfpgate.Band{band}}
	servertest.Must(t, c.Report(t.Context(), rep))
	servertest.Must(t, c.Report(t.Context(), rep))
	rep.Bands = nil
	if err := c.Report(t.Context(), rep); !errors.Is(err, mfpgate.ErrRefused) || errors.Is(err, mfpgate.ErrStale) {
		t.Errorf("another report of the same id: %v", err)
	}
	_, next, lost, err := c.Events(t.Context(), 0, 0)
	if err != nil || lost || next == 0 {
		t.Errorf("%v; %d", err, next)
	}
	p := mfpgate.Proposal{ID: "prp_1", Report: "rep_1", DeltaToken: all.Token, Apply: true,
		Changes: []mfpgate.Change{{ID: "c1", Delivery: "d000", Version: "1", From: start, To: start.Add(3 * time.Hour), Code: mfpgate.ChangeOverload}}}
	out, err := c.Propose(t.Context(), p)
	want := mfpgate.ProposalOutcome{ID: "prp_1", Changes: []mfpgate.ChangeOutcome{{Change: "c1", Delivery: "d000", State: mfpgate.ChangeApplied, Version: "2"}}}
	if diff := cmp.Diff(want, out); err != nil || diff != "" {
		t.Fatalf("%v; %s", err, diff)
	}
	if again, err := c.Outcome(t.Context(), "prp_1"); err != nil || !cmp.Equal(again, want) {
		t.Errorf("%v; %+v", err, again)
	}
	p.ID, p.Changes[0].Delivery, p.Changes[0].To = "prp_2", "d001", start.Add(3*time.Hour)
	if _, err := c.Propose(t.Context(), p); !errors.Is(err, mfpgate.ErrStale) {
		t.Errorf("into what was just moved there, by an old list: %v", err)
	}
	changed, err := c.Changes(t.Context(), window, all.Token)
	if err != nil || changed.Whole || len(changed.Deliveries) != 1 || changed.Deliveries[0].Version != "2" {
		t.Errorf("%v; %+v", err, changed)
	}
	p.DeltaToken = ""
	if _, err := c.Propose(t.Context(), p); !errors.Is(err, mfpgate.ErrRefused) {
		t.Errorf("into what is there: %v", err)
	}
	servertest.Must(t, c.Withdraw(t.Context(), "prp_1"))
	servertest.Must(t, c.Withdraw(t.Context(), "unknown"))
	events, _, _, err := c.Events(t.Context(), next, 10*time.Second)
	if err != nil || len(events) < 2 {
		t.Errorf("%v; %+v", err, events)
	}
}

func TestHostileSchedules(t *testing.T) {
	deliveries := func(c *client.Client) error {
		_, err := c.Changes(t.Context(), mfpgate.Interval{}, "")
		return err
	}
	one := `{"items":[%s],"removed":[],"deltaToken":"t"}`
	for _, c := range []struct {
		rule, answer string
		call         func(*client.Client) error
	}{
		{"no token on the last page", `{"items":[]}`, deliveries},
		{"a token that is endless", `{"items":[],"deltaToken":"` + strings.Repeat("x", 300) + `"}`, deliveries},
		{"pages without an end", `{"items":[],"nextCursor":"again"}`, deliveries},
		{"a delivery without an id", fmt.Sprintf(one, `{"deviceId":"d","schedule":{"startUtc":"2026-12-01T00:00:00Z"}}`), deliveries},
		{"a delivery without a time", fmt.Sprintf(one, `{"deliveryId":"d","deviceId":"d","schedule":{}}`), deliveries},
		{"the year 9999", fmt.Sprintf(one, `{"deliveryId":"d","deviceId":"d","schedule":{"startUtc":"9999-12-01T00:00:00Z"}}`), deliveries},
		{"a priority below nothing", fmt.Sprintf(one, `{"deliveryId":"d","deviceId":"d","priority":-1,"schedule":{"startUtc":"2026-12-01T00:00:00Z"}}`), deliveries},
		{"a duration below nothing", fmt.Sprintf(one, `{"deliveryId":"d","deviceId":"d","duration":{"p95":"-PT1H"},"schedule":{"startUtc":"2026-12-01T00:00:00Z"}}`), deliveries},
		{"depth", fmt.Sprintf(one, strings.Repeat(`{"x":`, 100_000)), deliveries},
		{"a background without end", `{"items":[{"serviceId":"s","cron":"0 3 * * *","duration":"P900D"}]}`, func(c *client.Client) error {
			_, _, err := c.Background(t.Context(), "")
			return err
		}},
		{"another proposal", `{"proposalId":"other","state":"pending","createdAt":"2026-12-01T00:00:00Z","changes":[]}`, func(c *client.Client) error {
			_, err := c.Outcome(t.Context(), "prp_1")
			return err
		}},
		{"events that go back", `{"items":[{"seq":3,"type":"x","at":"2026-12-01T00:00:00Z"}],"next":3}`, func(c *client.Client) error {
			_, _, _, err := c.Events(t.Context(), 5, 0)
			return err
		}},
		{"events out of order", `{"items":[{"seq":9,"type":"x","at":"2026-12-01T00:00:00Z"},{"seq":8,"type":"x","at":"2026-12-01T00:00:00Z"}],"next":9}`, func(c *client.Client) error {
			_, _, _, err := c.Events(t.Context(), 5, 0)
			return err
		}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, c.answer) }))
			defer s.Close()
			if err := c.call(connect(t, s.URL, nil, "osaka-1.x", 20*time.Second)); !errors.Is(err, client.ErrAnswer) {
				t.Errorf("got %v, want ErrAnswer", err)
			}
		})
	}
}

func TestRefusalsSayWhatComesNext(t *testing.T) {
	for _, c := range []struct {
		status         int
		reason         string
		stale, refused bool
	}{
		{409, "stale-snapshot", true, false}, {412, "precondition-failed", true, false}, {422, "would-overload", false, true}, {403, "not-in-contract", false, true},
		{404, "unknown-gateway", false, true}, {401, "token-refused", false, false}, {429, "rate-limited", false, false}, {503, "storage-full", false, false}, {500, "internal", false, false},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(c.status)
			_ = json.NewEncoder(w).Encode(api.Problem{Type: api.ProblemType + c.reason, Title: "x", Status: c.status})
		}))
		err := connect(t, s.URL, nil, "osaka-1.x", 20*time.Second).Report(t.Context(), mfpgate.OverloadReport{ID: "r"})
		s.Close()
		var delay interface{ Delay() time.Duration }
		if errors.Is(err, mfpgate.ErrStale) != c.stale || errors.Is(err, mfpgate.ErrRefused) != c.refused || !errors.As(err, &delay) || delay.Delay() != 7*time.Second {
			t.Errorf("%d %s: %v", c.status, c.reason, err)
		}
	}
}
