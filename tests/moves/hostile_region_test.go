package moves_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region/holding"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/tests/regions"
)

var serialNumber = regexp.MustCompile(`US[0-9]{6}`)

// untrue is a lie of region us, or of what says to be it, with what becomes of the move.
type untrue struct {
	rule string
	lie  lie
	// Before the commit: the move is taken back for this reason, or waits for it and is taken back when somebody aborts it.
	why   mfpgate.Reason
	waits bool
	// After the commit: it waits for the reason in this step, and is done when the lie ends.
	step mfpgate.MoveStep
	says string // what its detail has
}

// TestAHostileRegionIsStopped has region us lie to the processes of jp and of the gateway, a device for each lie, all at once.
func TestAHostileRegionIsStopped(t *testing.T) {
	t.Parallel()
	var lured atomic.Int32
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { lured.Add(1) }))
	defer inside.Close()
	const active, other = mfpgate.HoldingActive, "us-mfp-99"
	zero, escape := strings.Repeat("0", 64), "\x1b[2J=cmd|' /C calc'!A0\u202e"
	lies := []untrue{
		{rule: "a digest that is not the copy's", why: "region-lied", says: "not the same",
			lie: answering("us", "services", mfpgate.StepCopy, func(a *mfpgate.MoveAnswer) { a.Digest = zero })},
		{rule: "says that it has copied, and sends nothing", why: "region-refused", says: "jp",
			lie: func(w http.ResponseWriter, e exchange) bool {
				return e.is("us", "services", mfpgate.StepCopy) && says(w, mfpgate.MoveAnswer{State: active, Digest: zero})
			}},
		{rule: "other items than its digest says", why: "region-refused", says: "us",
			lie: sending(func(t *mfpgate.HoldingTransfer) { t.Items[0].Value = []byte("other") })},
		{rule: "another device's items, with their digest", why: "region-refused", says: "us",
			lie: sending(func(t *mfpgate.HoldingTransfer) {
				t.Items[0].Value = []byte("of " + other)
				t.Digest = holding.Digest(t.Services, t.Items)
			})},
		{rule: "another epoch", why: "region-lied", says: "epoch 9", lie: sending(func(t *mfpgate.HoldingTransfer) { t.Order.Epoch = 9 })},
		{rule: "a registration id of its own", why: "region-lied", says: "r1.us.2",
			lie: sending(func(t *mfpgate.HoldingTransfer) {
				t.Order.Registration = strings.Replace(t.Order.Registration, "r1.jp.", "r1.us.", 1)
			})},
		{rule: "active after it was drained", why: "region-lied", says: "active",
			lie: answering("us", "services", mfpgate.StepDrain, func(a *mfpgate.MoveAnswer) { a.State = active })},
		{rule: "another device in answer to a question", why: "region-confused", says: other,
			lie: func(w http.ResponseWriter, e exchange) bool {
				return e.method == http.MethodGet && e.region == "us" && says(w, mfpgate.Holding{MFP: other, Region: "us", State: active, Epoch: 1})
			}},
		{rule: "another device handed over", why: "region-lied", says: "other-us-mfp-",
			lie: answering("us", "management", mfpgate.StepDelta, func(a *mfpgate.MoveAnswer) {
				a.Management = bytes.ReplaceAll(a.Management, []byte(`"us-mfp-`), []byte(`"other-us-mfp-`))
			})},
		{rule: "the device handed over under another one's serial number", why: "region-lied", says: "US999999",
			lie: answering("us", "management", mfpgate.StepCopy, func(a *mfpgate.MoveAnswer) {
				a.Management = serialNumber.ReplaceAll(a.Management, []byte("US999999"))
			})},
		{rule: "a refusal that writes on the screen", why: "region-refused", says: "refused it",
			lie: func(w http.ResponseWriter, e exchange) bool {
				return e.is("us", "services", mfpgate.StepUnlink) && refuses(w, http.StatusConflict, "out-of-turn", "refused it "+escape+strings.Repeat("x", 9000))
			}},
		{rule: "redirects into the site", why: "region-unreached", says: "redirect", waits: true,
			lie: func(w http.ResponseWriter, e exchange) bool {
				if !e.is("us", "services", mfpgate.StepUnlink) {
					return false
				}
				w.Header().Set("Location", inside.URL)
				w.WriteHeader(http.StatusTemporaryRedirect)
				return true
			}},
		{rule: "an answer without end", why: "region-unreached", says: "longer than", waits: true,
			lie: func(w http.ResponseWriter, e exchange) bool {
				if !e.is("us", "services", mfpgate.StepUnlink) {
					return false
				}
				for more := []byte(strings.Repeat(" ", 64<<10)); ; {
					if _, err := w.Write(more); err != nil {
						return true
					}
				}
			}},
		{rule: "an answer that never comes", waits: true,
			lie: func(w http.ResponseWriter, e exchange) bool {
				if !e.is("us", "services", mfpgate.StepUnlink) {
					return false
				}
				_, _ = io.WriteString(w, `{"state":`)
				_ = http.NewResponseController(w).Flush()
				<-e.masks.t.Context().Done()
				return true
			}},
		{rule: "out of order", why: "region-unreached", says: "500", waits: true,
			lie: func(w http.ResponseWriter, e exchange) bool {
				return e.is("us", "services", mfpgate.StepUnlink) && refuses(w, http.StatusInternalServerError, "internal", "out of order")
			}},
		{rule: "a receipt of another device", step: mfpgate.StepRetire, why: "region-confused", says: "receipt",
			lie: answering("us", "services", mfpgate.StepRetire, func(a *mfpgate.MoveAnswer) { a.Receipt.MFP = other })},
		{rule: "a receipt that it has not signed", step: mfpgate.StepRetire, why: "region-confused", says: "receipt",
			lie: answering("us", "services", mfpgate.StepRetire, func(a *mfpgate.MoveAnswer) { a.Receipt.Purged = nil })},
		{rule: "gone before its time", step: mfpgate.StepRetire, why: "region-refused", says: "us",
			lie: func(w http.ResponseWriter, e exchange) bool {
				return e.is("us", "services", mfpgate.StepRetire) && refuses(w, http.StatusNotFound, "not-registered", "nothing is held")
			}},
	}
	of, moves := map[string]lie{}, map[string]mfpgate.MoveID{}
	for n, c := range lies {
		of[mfp(n+1)] = c.lie
	}
	s, m := masked(t, options{network: "127.54", devices: len(lies), begin: func(s *scene) {
		for n := range lies {
			s.start(t, n+1, "--poll", "2s", "--directive-every", "1")
		}
	}}, of)
	ids := s.knownAll(t, len(lies))
	for n := range lies {
		moves[mfp(n+1)] = s.begin(t, ids[n+1])
	}
	for n, c := range lies {
		t.Run(c.rule, func(t *testing.T) {
			id, device := moves[mfp(n+1)], mfp(n+1)
			if c.step != "" {
				got := s.waits(t, id, func(m mfpgate.Move) bool { return m.Step == c.step && m.Reason == c.why && m.Attempts > 1 })
				if got.State != mfpgate.MoveCommitted || !strings.Contains(got.Detail, c.says) || got.Receipt != nil {
					t.Errorf("%s, %s: %q, receipt %v", got.State, got.Reason, got.Detail, got.Receipt)
				}
				m.honest(device)
				s.act(t, id, "retry")
				got = s.becomes(t, id, mfpgate.MoveDone)
				if got.Receipt == nil || got.Receipt.MFP != device || s.heldBy(t, "jp", device) != active || s.heldBy(t, "us", device) != "" {
					t.Errorf("done with %+v, and jp holds %q, us %q", got.Receipt, s.heldBy(t, "jp", device), s.heldBy(t, "us", device))
				}
				s.replay(t, m, device, active, "")
				return
			}
			if c.waits {
				got := s.waits(t, id, func(got mfpgate.Move) bool {
					return got.Reason == c.why && got.Attempts > 0 || c.why == "" && slices.ContainsFunc(m.came(device), func(e exchange) bool { return e.step == mfpgate.StepUnlink })
				})
				if !strings.Contains(got.Detail, c.says) {
					t.Errorf("it waits for %s: %q", got.Reason, got.Detail)
				}
				s.act(t, id, "abort")
			}
			got := s.becomes(t, id, mfpgate.MoveRolledBack)
			if !c.waits && (got.Reason != c.why || !strings.Contains(got.Detail, c.says)) {
				t.Errorf("taken back for %s: %q", got.Reason, got.Detail)
			}
			if strings.ContainsAny(got.Detail, "\x1b\u202e") || len(got.Detail) > 1100 {
				t.Errorf("the detail is %d bytes: %q", len(got.Detail), got.Detail)
			}
			if jp := s.heldBy(t, "jp", device); s.heldBy(t, "us", device) != active || jp != "" && jp != mfpgate.HoldingAborted {
				t.Errorf("us holds %q, jp %q", s.heldBy(t, "us", device), jp)
			}
			s.replay(t, m, device, s.heldBy(t, "jp", device), active)
			if s.device(device).count("redirected") != 0 {
				t.Error("the device was redirected")
			}
			var plan mfpgate.MovePlan
			m.honest(device)
			if status := s.api(t, http.MethodPost, "/api/v1/moves", map[string]any{"deviceId": ids[n+1], "dryRun": true}, &plan); status != http.StatusOK || len(plan.Blockers) > 0 {
				t.Errorf("it cannot be moved again: %d %+v", status, plan.Blockers)
			}
		})
	}
	if lured.Load() > 0 {
		t.Error("a redirect of the region was followed")
	}
}

// replay sends again what regions sent of a device, with the tokens that it was sent with, and wants no effect.
func (s *scene) replay(t *testing.T, m *masks, device string, jp, us mfpgate.HoldingState) {
	t.Helper()
	for _, e := range m.came(device) {
		if e.method == http.MethodGet {
			continue
		}
		if status, _, text, err := e.really(nil); err != nil || status >= 500 {
			t.Errorf("%s of %s, again: %d %s (%v)", e.step, e.region, status, text, err)
		}
	}
	if gotJP, gotUS := s.heldBy(t, "jp", device), s.heldBy(t, "us", device); gotJP != jp || gotUS != us {
		t.Errorf("after all came again jp holds %q, us %q; want %q, %q", gotJP, gotUS, jp, us)
	}
}

// heldBy is what a region's services are to a device, as its operator sees it.
func (s *scene) heldBy(t *testing.T, region, device string) mfpgate.HoldingState {
	t.Helper()
	r := map[string]*regions.Region{"jp": s.JP, "us": s.US}[region]
	password, err := os.ReadFile(r.Password)
	if err != nil {
		t.Fatal(err)
	}
	at := s.World.Network + map[string]string{"jp": ".1.2", "us": ".2.2"}[region]
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+at+":8443/svc/v1/registrations?limit=500", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(regions.Operator, strings.TrimSpace(string(password)))
	res, err := s.masks.real.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var page struct{ Items []mfpgate.Holding }
	if err := json.NewDecoder(res.Body).Decode(&page); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("holdings of %s: %d, %v", region, res.StatusCode, err)
	}
	for _, h := range page.Items {
		if h.MFP == device {
			return h.State
		}
	}
	return ""
}

// api asks the gateway on its socket.
func (s *scene) api(t *testing.T, method, path string, in, out any) int {
	t.Helper()
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://gateway"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	c := control.Client(s.Socket)
	defer c.CloseIdleConnections()
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode < 300 && out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			t.Fatalf("%s %s: %v\n%s", method, path, err, text)
		}
	}
	if res.StatusCode >= 300 {
		s.refusal = fmt.Sprintf("%d %s", res.StatusCode, text)
	}
	return res.StatusCode
}

// knownAll waits until the gateway knows the serial numbers of n devices, and returns how it names them, by number.
func (s *scene) knownAll(t *testing.T, n int) []mfpgate.DeviceID {
	t.Helper()
	ids := make([]mfpgate.DeviceID, n+1)
	s.await(t, "the gateway knows all devices", func() bool {
		var page struct{ Items []mfpgate.Device }
		s.api(t, http.MethodGet, "/api/v1/devices", nil, &page)
		for _, d := range page.Items {
			var number int
			if _, err := fmt.Sscanf(d.Name, "Copier %d", &number); err == nil && d.Serial != "" && number <= n {
				ids[number] = d.ID
			}
		}
		return !slices.Contains(ids[1:], "")
	})
	return ids
}

// begin plans and starts a move.
func (s *scene) begin(t *testing.T, id mfpgate.DeviceID) mfpgate.MoveID {
	t.Helper()
	var m mfpgate.Move
	s.await(t, "device "+string(id)+" can be moved", func() bool {
		var plan mfpgate.MovePlan
		if s.api(t, http.MethodPost, "/api/v1/moves", map[string]any{"deviceId": id, "dryRun": true}, &plan) != http.StatusOK || len(plan.Data) < classes {
			return false
		}
		return s.api(t, http.MethodPost, "/api/v1/moves", map[string]any{"deviceId": id, "plan": plan.Hash}, &m) == http.StatusCreated
	})
	return m.ID
}

func (s *scene) act(t *testing.T, id mfpgate.MoveID, verb string) {
	t.Helper()
	if status := s.api(t, http.MethodPost, "/api/v1/moves/"+string(id)+"/"+verb, nil, nil); status != http.StatusOK {
		t.Errorf("%s: %s", verb, s.refusal)
	}
}

// becomes waits for a move to end so.
func (s *scene) becomes(t *testing.T, id mfpgate.MoveID, end mfpgate.MoveState) (m mfpgate.Move) {
	t.Helper()
	s.await(t, "move "+string(id)+" is "+string(end), func() bool {
		m = mfpgate.Move{}
		s.api(t, http.MethodGet, "/api/v1/moves/"+string(id), nil, &m)
		s.refusal = fmt.Sprintf("%s, %s, attempts %d, %s: %s", m.State, m.Step, m.Attempts, m.Reason, m.Detail)
		if m.State.Ended() && m.State != end {
			t.Fatalf("it ended: %s", s.refusal)
		}
		return m.State == end
	})
	return m
}

// waits waits for a move to be as wanted, and returns it.
func (s *scene) waits(t *testing.T, id mfpgate.MoveID, wanted func(mfpgate.Move) bool) (m mfpgate.Move) {
	t.Helper()
	s.await(t, "move "+string(id)+" waits as it should", func() bool {
		m = mfpgate.Move{}
		s.api(t, http.MethodGet, "/api/v1/moves/"+string(id), nil, &m)
		if m.State.Ended() {
			t.Fatalf("it ended: %s, %s: %s", m.State, m.Reason, m.Detail)
		}
		s.refusal = fmt.Sprintf("%s, %s, attempts %d, %s: %s", m.State, m.Step, m.Attempts, m.Reason, m.Detail)
		return wanted(m)
	})
	return m
}

func (s *scene) await(t *testing.T, what string, reached func() bool) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for !reached() {
		select {
		case <-again.C:
		case <-late.C:
			out, _ := s.JP.Remote(t.Context(), "moves", "list")
			t.Fatalf("after %v still not: %s; the last was: %s\n%s", patience, what, s.refusal, out)
		}
	}
}
