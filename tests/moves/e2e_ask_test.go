package moves_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/tests/regions"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// The devices of the site at which administrators move them.
const (
	whose        = iota + 1 // is moved with everything
	bare                    // is in no service
	pinned                  // asks for no directive
	wild                    // goes past the relay
	polled                  // is in monitoring mode polling
	fax                     // is in a service that jp does not offer
	undecided               // is moved, and then not
	devicesAsked = undecided
)

// TestEndToEnd plays everything at three sites at once, each of which has regions, a gateway and devices of its own.
func TestEndToEnd(t *testing.T) {
	t.Parallel()
	abreast(t, map[string]func(*testing.T){
		"administrators move devices":                  administratorsMoveDevices,
		"the policy moves devices that notice nothing": thePolicyMovesDevices,
		"a user registers a device of another market":  aUserRegisters,
	})
}

// administratorsMoveDevices has one site, at which seven devices are moved in as many ways.
func administratorsMoveDevices(t *testing.T) {
	s := open(t, options{network: "127.44", devices: devicesAsked,
		rollout: map[string][]string{"jp": {"document-cloud --child translate"}, "us": {"document-cloud --child translate --child whiteboard", "fax-cloud"}},
		entry: func(n int) string {
			if n == polled {
				return ", market: us, monitoring: polling"
			}
			return ", market: us"
		},
		begin: func(s *scene) {
			s.start(t, whose)
			s.launch(t, bare)
			s.start(t, pinned, "--pinned")
			s.start(t, wild, "--proxy", "", "--cloud", "https://"+s.host("us", true), "--services-url", "https://"+s.host("us", false))
			s.start(t, polled)
			s.start(t, fax, "--service", "fax-cloud")
			s.start(t, undecided)
		}})
	abreast(t, map[string]func(*testing.T){
		"a move with services, children and data": s.movesWhole,
		"management data alone":                   s.movesBare,
		"a pinned device, and its open tunnels":   s.movesPinned,
		"a device that goes past the relay":       s.movesWild,
		"a device in mode polling":                s.movesPolled,
		"a service that is not rolled out blocks": s.blocks,
		"an administrator takes a move back":      s.takesBack,
	})
	if !t.Failed() {
		s.check(t, false)
	}
}

// movesWhole plays claims 1 and 2, embodiments 3 and 4.
func (s *scene) movesWhole(t *testing.T) {
	d := s.device(mfp(whose))
	h, id := s.hand(t, d), s.known(t, whose)
	d.seen(t, "it is registered in us", func(e map[string]any) bool { return e["event"] == "used" && e["region"] == "us" })
	eventually(t, "it has some data", func() bool { return d.count("stored") >= 4 }, func() any { return d.told() })
	// Classes of its own besides the simulator's, whose content is known: one each to move, to leave and to reset.
	content := func(class string, n int) []byte {
		return []byte(fmt.Sprintf("%s %d of %s: %s", class, n, d.id, strings.Repeat("語", n)))
	}
	mine := map[string]int{"settings": 3, "fax-log": 2, "scan-cache": 4}
	for class, items := range mine {
		for n := range items {
			if status, text := h.services(t, "us", http.MethodPut, fmt.Sprintf("data/%s/item-%d", class, n), content(class, n)); status >= 300 {
				t.Fatalf("store %s %d: %d %s", class, n, status, text)
			}
		}
	}
	m := s.until(t, s.move(t, id, "--data", "fax-log=leave", "--data", "scan-cache=reset").ID, mfpgate.MoveDone)
	if m.From != "us" || m.To != "jp" || m.Epoch != 2 || m.Lost {
		t.Errorf("the move is %+v", m)
	}
	for step := range slices.Values([]mfpgate.MoveStep{mfpgate.StepCheck, mfpgate.StepUnlink, mfpgate.StepCopy, mfpgate.StepVerify, mfpgate.StepDrain, mfpgate.StepDelta,
		mfpgate.StepActivate, mfpgate.StepCommit, mfpgate.StepNotify, mfpgate.StepRetire, mfpgate.StepRedirect, mfpgate.StepConfirm, mfpgate.StepDelete}) {
		if !slices.ContainsFunc(m.Steps, func(s mfpgate.MoveStepTaken) bool { return s.Step == step }) {
			t.Errorf("step %s was not taken", step)
		}
	}
	e := d.seen(t, "it uses jp in the new epoch", func(e map[string]any) bool { return e["event"] == "used" && e["region"] == "jp" })
	if e["epoch"] != 2.0 || e["state"] != "active" || !strings.Contains(fmt.Sprint(e["url"]), "svc.jp.mfp.test") || d.count("redirected") != 1 {
		t.Errorf("it was redirected %d times, and uses %v", d.count("redirected"), e)
	}
	d.stop(t)

	// Everything that a region ever took of the simulator is at the target, the last value of each item.
	last := map[string]int{}
	stored := 0
	for _, e := range d.told() {
		if e["event"] == "stored" {
			last[fmt.Sprint(e["item"])] = stored
			stored++
		}
	}
	if len(last) < 4 {
		t.Errorf("it has stored %d items only", len(last))
	}
	for item, n := range last {
		if status, text := h.services(t, "jp", http.MethodGet, "data/"+item, nil); status != http.StatusOK || !bytes.Contains(text, fmt.Appendf(nil, `"number":%d,`, n)) {
			t.Errorf("%s at jp: %d %s, want number %d", item, status, text, n)
		}
	}
	for class, items := range mine {
		for n := range items {
			status, text := h.services(t, "jp", http.MethodGet, fmt.Sprintf("data/%s/item-%d", class, n), nil)
			if moved := class == "settings"; moved != (status == http.StatusOK) || moved && !bytes.Equal(text, content(class, n)) {
				t.Errorf("%s %d at jp: %d %s", class, n, status, text)
			}
		}
	}

	// The source has forgotten it.
	for _, path := range []string{"check-ins", "data/settings/item-0"} {
		method, body := http.MethodGet, any(nil)
		if path == "check-ins" {
			method, body = http.MethodPost, api.ServiceCheckIn{Epoch: 1}
		}
		if status, text := h.services(t, "us", method, path, body); status != http.StatusNotFound && status != http.StatusMisdirectedRequest {
			t.Errorf("%s at us: %d %s", path, status, text)
		}
	}
	s.receipt(t, m, mine)
	s.said(t, m)
	of := s.resides(t, id, "at home in jp with a receipt", func(r mfpgate.Residence) bool { return r.State == mfpgate.ResidenceHome && len(r.Receipts) == 1 })
	if of.Home != "jp" || of.Since.IsZero() || of.Epoch != 2 || of.Receipts[0].ID != m.Receipt.ID || of.Move != m.ID || !strings.HasPrefix(of.Registration, "r1.jp.2.") || of.Enforcement != mfpgate.Enforced {
		t.Errorf("its residence is %+v", of)
	}
	if len(of.Services) != 1 || of.Services[0].ID != "document-cloud" || !slices.Equal(of.Services[0].Children, []string{"translate"}) {
		t.Errorf("it is in the services %+v", of.Services)
	}
	s.refused(t, []string{"commit"}, "moves", "abort", string(m.ID))
}

// receipt holds the source's receipt against what was stored there.
func (s *scene) receipt(t *testing.T, m mfpgate.Move, mine map[string]int) {
	t.Helper()
	r := m.Receipt
	if r == nil {
		t.Fatal("there is no receipt")
	}
	var signed mfpgate.DeletionReceipt
	signedBy(t, s.US, r.Signed, &signed)
	if signed.ID != r.ID || signed.Region != "us" || signed.MFP != m.MFP || signed.Move != m.ID || signed.Digest == "" || signed.PurgedAt.IsZero() {
		t.Errorf("signed is %+v, said %+v", signed, *r)
	}
	items := func(list []mfpgate.HeldData, class string) (n int) {
		for _, d := range list {
			if d.Class == class {
				n += d.Items
			}
		}
		return n
	}
	if items(signed.Left, "fax-log") != mine["fax-log"] || items(signed.Purged, "fax-log") != 0 {
		t.Errorf("left is %+v, purged %+v", signed.Left, signed.Purged)
	}
	for _, class := range []string{"settings", "scan-cache"} {
		if items(signed.Purged, class) != mine[class] || items(signed.Left, class) != 0 {
			t.Errorf("%s: left is %+v, purged %+v", class, signed.Left, signed.Purged)
		}
	}
	for _, class := range []string{"address-book", "job-log"} {
		if items(signed.Purged, class) == 0 {
			t.Errorf("%s: purged is %+v", class, signed.Purged)
		}
	}
}

// said looks for who ordered what in the chains of both regions.
func (s *scene) said(t *testing.T, m mfpgate.Move) {
	t.Helper()
	chains := s.read(t)
	find := func(writer, actor string, step mfpgate.MoveStep, wanted func(mfpgate.MoveTrace) bool) {
		t.Helper()
		for _, e := range chains[writer] {
			var trace mfpgate.MoveTrace
			if json.Unmarshal(e.After, &trace) == nil && trace.Move == m.ID && trace.Seq == step.Seq() && (actor == "" || e.Actor == actor) && wanted(trace) {
				return
			}
		}
		t.Errorf("%s has no entry of step %s by %q as wanted; it has %s", writer, step, actor, entries(chains[writer], m.ID))
	}
	any := func(mfpgate.MoveTrace) bool { return true }
	find("us/services", "jp/management", mfpgate.StepUnlink, func(tr mfpgate.MoveTrace) bool {
		return slices.Equal(tr.Children, []string{"document-cloud/translate"})
	})
	find("us/services", "jp/management", mfpgate.StepCopy, any)
	find("us/services", "jp/management", mfpgate.StepDrain, func(tr mfpgate.MoveTrace) bool { return tr.State == string(mfpgate.HoldingDraining) })
	find("jp/services", "us/services", mfpgate.StepCopy, func(tr mfpgate.MoveTrace) bool {
		return tr.State == string(mfpgate.HoldingPrepared) && slices.Equal(tr.Children, []string{"document-cloud/translate"})
	})
	find("jp/services", "jp/management", mfpgate.StepActivate, func(tr mfpgate.MoveTrace) bool { return tr.State == string(mfpgate.HoldingActive) && tr.Epoch == 2 })
	find("jp/management", "", mfpgate.StepCommit, any)
	find("us/management", "region jp", mfpgate.StepNotify, func(tr mfpgate.MoveTrace) bool { return tr.State == string(mfpgate.HoldingMoved) })
	find("us/management", "device "+m.MFP, mfpgate.StepRedirect, any)
	find(m.Gateway+"/route", "jp/management", mfpgate.StepSwitch, func(tr mfpgate.MoveTrace) bool { return tr.Region == "jp" })
	find("us/services", "jp/management", mfpgate.StepRetire, func(tr mfpgate.MoveTrace) bool { return tr.State == string(mfpgate.HoldingMoved) })
	find("us/services", "jp/management", mfpgate.StepDelete, any)
}

func entries(chain []journal.Entry, id mfpgate.MoveID) string {
	var b strings.Builder
	for _, e := range chain {
		if strings.Contains(string(e.After), string(id)) {
			fmt.Fprintf(&b, "\n%d %s %s %s", e.Seq, e.Actor, e.Action, e.After)
		}
	}
	return b.String()
}

// movesBare plays embodiment 2: the management data alone.
func (s *scene) movesBare(t *testing.T) {
	d, id := s.device(mfp(bare)), s.known(t, bare)
	var plan mfpgate.MovePlan
	eventually(t, "a device without services can be planned for", func() bool {
		return s.ctl(t, &plan, "moves", "plan", string(id)) == nil
	}, func() any { return plan })
	if len(plan.Services)+len(plan.Children)+len(plan.Data)+len(plan.Blockers) != 0 {
		t.Errorf("the plan is %+v", plan)
	}
	var m mfpgate.Move
	if err := s.ctl(t, &m, "moves", "start", string(id), "--plan", plan.Hash); err != nil {
		t.Fatal(err)
	}
	m = s.until(t, m.ID, mfpgate.MoveDone)
	of := s.resides(t, id, "at home in jp", func(r mfpgate.Residence) bool { return r.State == mfpgate.ResidenceHome })
	if of.Home != "jp" || len(of.Services)+len(of.Data) != 0 || m.Receipt == nil {
		t.Errorf("its residence is %+v, the receipt %v", of, m.Receipt)
	}
	d.seen(t, "it checks in at jp's management server", func(e map[string]any) bool { return e["event"] == "used" && e["region"] == "jp" })
	// Its management server knows it: a device of that id and serial number is nowhere else.
	h := s.hand(t, d)
	if status, text, err := h.call(t, h.client(t, false), http.MethodPost, "https://"+s.host("jp", true)+"/v1/devices/"+d.id+"/check-ins",
		map[string]any{"model": model, "serial": fmt.Sprintf("US%06d", bare), "firmware": "1.0"}); err != nil || status >= 500 || status == http.StatusNotFound {
		t.Errorf("its check-in at jp: %d %s %v", status, text, err)
	}
}

// movesWild has the gateway say of a device that it cannot keep it from anywhere.
func (s *scene) movesWild(t *testing.T) {
	id := s.known(t, wild)
	m := s.move(t, id)
	of := s.resides(t, id, "it is shown that nothing is enforced", func(r mfpgate.Residence) bool { return r.Enforcement == mfpgate.Unenforced })
	if !strings.Contains(of.Bypassed, "set the relay as its proxy") {
		t.Errorf("why it is unenforced: %q", of.Bypassed)
	}
	// Without the relay it finds no jp here, as if it were gone for good.
	s.until(t, m.ID, mfpgate.MoveCommitted)
	eventually(t, "the move waits for the device alone", func() bool {
		_ = s.ctl(t, &m, "moves", "status", string(m.ID))
		return m.Step == mfpgate.StepConfirm
	}, func() any { return m })
	if err := s.ctl(t, &m, "moves", "confirm-lost", string(m.ID)); err != nil {
		t.Fatal(err)
	}
	if m = s.until(t, m.ID, mfpgate.MoveDone); !m.Lost || m.Receipt == nil {
		t.Errorf("the move is %+v", m)
	}
}

// movesPolled is of a device whose own connections are nobody's business here.
func (s *scene) movesPolled(t *testing.T) {
	id := s.known(t, polled)
	s.until(t, s.move(t, id).ID, mfpgate.MoveDone)
	of := s.resides(t, id, "at home in jp", func(r mfpgate.Residence) bool { return r.State == mfpgate.ResidenceHome })
	if of.Enforcement != mfpgate.Unenforced || !strings.Contains(of.Bypassed, "polling") {
		t.Errorf("its residence is %+v", of)
	}
}

// blocks has a plan with a blocker, and a start that is refused.
func (s *scene) blocks(t *testing.T) {
	id := s.known(t, fax)
	var plan mfpgate.MovePlan
	var last string
	eventually(t, "the plan says what is not rolled out", func() bool {
		code, out, complaint := rig.Run(t, "moves", "plan", string(id), "--json", "--socket", s.Socket)
		last = out + complaint
		return code != 0 && json.Unmarshal([]byte(out), &plan) == nil && len(plan.Data) == classes && len(plan.Blockers) > 0
	}, func() any { return last })
	if len(plan.Blockers) != 1 || !strings.Contains(plan.Blockers[0].Detail, "fax-cloud") ||
		!slices.Contains(plan.Services, mfpgate.PlannedService{ID: "fax-cloud", Available: false, Action: "block"}) {
		t.Errorf("the plan is %+v", plan)
	}
	s.refused(t, []string{"fax-cloud"}, "moves", "start", string(id), "--plan", plan.Hash)
	s.resides(t, id, "abroad, and not moved", func(r mfpgate.Residence) bool {
		return r.State == mfpgate.ResidenceAbroad && r.Home == "us" && r.Move == ""
	})
}

// takesBack has a move wait at verify, which is behind unlink, until it is aborted; its source does not answer then for a while.
func (s *scene) takesBack(t *testing.T) {
	d, id := s.device(mfp(undecided)), s.known(t, undecided)
	m := s.startHeld(t, id)
	if err := syscall.Kill(s.US.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	awake := false
	wake := func() {
		if !awake {
			awake = true
			_ = syscall.Kill(s.US.PID(), syscall.SIGCONT)
		}
	}
	defer wake()
	s.Signal(t, syscall.SIGCONT)
	rig.Until(t, "the gateway hears of the move, and aborts it", func() bool { return s.ctl(t, &m, "moves", "abort", string(m.ID)) == nil })
	if m.State != mfpgate.MoveCompensating && m.State != mfpgate.MoveRolledBack {
		t.Errorf("the move is %+v", m)
	}
	eventually(t, "jp has forgotten, and the source is waited for", func() bool {
		_ = s.ctl(t, &m, "moves", "status", string(m.ID))
		return m.State == mfpgate.MoveCompensating && m.Step == mfpgate.StepUndrain
	}, func() any { return m })
	wake()
	m = s.until(t, m.ID, mfpgate.MoveRolledBack)
	stored := d.count("stored")
	eventually(t, "the source takes its data as before", func() bool { return d.count("stored") > stored }, func() any { return d.told() })
	of := s.resides(t, id, "abroad as before", func(r mfpgate.Residence) bool { return r.State == mfpgate.ResidenceAbroad })
	if of.Home != "us" || of.Epoch != 1 || len(of.Services) != 1 || !slices.Equal(of.Services[0].Children, []string{"translate", "whiteboard"}) || len(of.Receipts) != 0 {
		t.Errorf("its residence is %+v", of)
	}
	if d.count("redirected") != 0 {
		t.Error("it was redirected")
	}
}

// startHeld starts a move that waits at verify, for the gateway's word on certificates: the gateway stands still when this returns.
func (s *scene) startHeld(t *testing.T, id mfpgate.DeviceID) (m mfpgate.Move) {
	t.Helper()
	var plan mfpgate.MovePlan
	eventually(t, "the device can be moved", func() bool {
		return s.ctl(t, &plan, "moves", "plan", string(id)) == nil && len(plan.Data) == classes && len(plan.Blockers) == 0
	}, func() any { return plan })
	token, err := os.ReadFile(s.JP.Token)
	if err != nil {
		t.Fatal(err)
	}
	s.Signal(t, syscall.SIGSTOP)
	h := s.hand(t, s.device(mfp(undecided)))
	h.token = strings.TrimSpace(string(token))
	at := "https://" + s.host("jp", true) + "/v1/gateways/" + regions.Gateway + "/moves"
	status, text, err := h.call(t, h.client(t, false), http.MethodPost, at, api.MoveStart{MoveRequest: mfpgate.MoveRequest{Device: id, To: "jp", Plan: plan.Hash}, Actor: "hana"})
	if err != nil || status != http.StatusCreated {
		s.Signal(t, syscall.SIGCONT)
		t.Fatalf("start: %d %s %v", status, text, err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the move waits at verify", func() bool {
		s.remote(t, s.JP, &m, "moves", "show", string(m.ID))
		return m.Step == mfpgate.StepVerify
	}, func() any { return m })
	return m
}
