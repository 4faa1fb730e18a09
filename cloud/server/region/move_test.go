package region_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
	"github.com/mfpgate/mfpgate/cloud/server/region"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/store/journal"
)

// TestADeviceMoves plays a whole move with the services of each region on a listener of their own.
func TestADeviceMoves(t *testing.T) {
	w := open(t, servertest.Pairing{Apart: true})
	const mfp, item = "us-mfp-1", "/svc/v1/devices/us-mfp-1/data/address-book/tanaka"
	w.tell("dev_1", "US000001", "us")
	b := w.start(w.us, mfp, "US000001", "translate", "whiteboard")
	if id, err := region.ParseID(b.Registration); err != nil || id.Region != "us" || id.Epoch != 1 || b.Epoch != 1 || b.State != mfpgate.HoldingActive || b.ServicesURL != w.us.Services {
		t.Fatalf("registered as %+v, %v", b, err)
	}
	if again := w.start(w.us, mfp, "US000001", "translate", "whiteboard"); again.Registration != b.Registration {
		t.Errorf("registered again as %s, not %s", again.Registration, b.Registration)
	}
	w.device(w.us, mfp, http.MethodPut, item, []byte("secret")).into(t, http.StatusNoContent, nil)
	w.device(w.us, mfp, http.MethodPost, "/v1/devices/"+mfp+"/check-ins", api.CheckIn{Model: model, Serial: "US000001", Firmware: "1.7", State: "idle"}).into(t, http.StatusOK, nil)
	w.device(w.us, mfp, http.MethodGet, api.DirectivePath, nil).refused(t, http.StatusNotFound, "no-directive")

	p := w.plan("dev_1")
	if p.From != "us" || p.MFP != mfp || !slices.ContainsFunc(p.Children, func(c mfpgate.PlannedChild) bool { return c.ID == "whiteboard" && c.Action == "unlink" }) {
		t.Errorf("the plan is %+v", p)
	}
	m := w.move("dev_1")
	m = w.reach(m.ID, func(m mfpgate.Move) bool { return m.Step == mfpgate.StepRedirect || m.State == mfpgate.MoveRolledBack })
	if m.State != mfpgate.MoveCommitted {
		t.Fatalf("the move is %+v", m)
	}

	// The source redirects.
	w.device(w.us, mfp, http.MethodPost, "/v1/devices/"+mfp+"/check-ins", api.CheckIn{Model: model, Serial: "US000001"}).refused(t, http.StatusMisdirectedRequest, api.Moved)
	w.device(w.us, mfp, http.MethodPost, "/svc/v1/devices/"+mfp+"/check-ins", api.ServiceCheckIn{Epoch: 1}).refused(t, http.StatusMisdirectedRequest, api.Moved)
	w.device(w.us, mfp, http.MethodGet, item, nil).refused(t, http.StatusMisdirectedRequest, api.Moved)
	w.device(w.us, mfp, http.MethodPost, api.DevicesPath, api.DeviceRegistration{Model: model, Serial: "US000001"}).refused(t, http.StatusMisdirectedRequest, api.Moved)
	var signed api.SignedDirective
	w.device(w.us, mfp, http.MethodGet, api.DirectivePath, nil).into(t, http.StatusOK, &signed)
	var d mfpgate.Directive
	servertest.Must(t, jws.Open(publicKey(t, w.us), api.PurposeDirective, signed.Signed, &d))
	want := mfpgate.Directive{MFP: mfp, Move: m.ID, Epoch: 2, Region: "jp", Management: w.jp.URL, Services: w.jp.Services, NotBefore: d.NotBefore}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Error(diff)
	}
	w.device(w.us, mfp, http.MethodPost, api.DirectiveAckPath, api.DirectiveAck{Move: m.ID, Epoch: 3}).refused(t, http.StatusConflict, api.OutOfTurn)
	for range 2 {
		w.device(w.us, mfp, http.MethodPost, api.DirectiveAckPath, api.DirectiveAck{Move: m.ID, Epoch: 2}).into(t, http.StatusNoContent, nil)
	}

	// The target answers, with all that was held and known.
	var there api.HoldingBrief
	w.device(w.jp, mfp, http.MethodPost, "/svc/v1/devices/"+mfp+"/check-ins", api.ServiceCheckIn{Epoch: 2}).into(t, http.StatusOK, &there)
	if there.Region != "jp" || there.Epoch != 2 || there.State != mfpgate.HoldingActive {
		t.Errorf("the target says %+v", there)
	}
	if r := w.device(w.jp, mfp, http.MethodGet, item, nil); string(r.body) != "secret" {
		t.Errorf("the item is %d %q", r.status, r.body)
	}
	var known api.MFP
	w.device(w.jp, mfp, http.MethodGet, "/v1/devices/"+mfp, nil).into(t, http.StatusOK, &known)
	if known.Firmware != "1.7" || known.DeviceID != mfp {
		t.Errorf("the target's management server knows %+v", known)
	}
	m = w.reach(m.ID, func(m mfpgate.Move) bool { return m.State.Ended() })
	if m.State != mfpgate.MoveDone || m.Receipt == nil || m.AckedAt.IsZero() || m.ConfirmedAt.IsZero() {
		t.Fatalf("the move ended as %+v", m)
	}

	// The source has forgotten, and does not take the device anew.
	w.device(w.us, mfp, http.MethodGet, api.DirectivePath, nil).refused(t, http.StatusNotFound, "no-directive")
	w.device(w.us, mfp, http.MethodGet, "/v1/devices/"+mfp, nil).refused(t, http.StatusNotFound, "unknown-device")
	w.device(w.us, mfp, http.MethodPost, api.DevicesPath, api.DeviceRegistration{Model: model, Serial: "US000001"}).refused(t, http.StatusConflict, "registered-elsewhere")
	w.residence("dev_1", func(r mfpgate.Residence) {
		if r.State != mfpgate.ResidenceHome || r.Home != "jp" || r.Epoch != 2 || r.Registration != m.NewRegistration || len(r.Receipts) != 1 || r.Move != m.ID ||
			len(r.Data) != 1 || r.Data[0].Region != "jp" || r.Data[0].Class != "address-book" {
			t.Errorf("the residence is %+v", r)
		}
	})
	w.audited(m.ID)
}

// residence hands over what the gateway is told of a device.
func (w *world) residence(id mfpgate.DeviceID, look func(mfpgate.Residence)) {
	w.t.Helper()
	var page api.Page[mfpgate.Residence]
	w.gate(http.MethodGet, "/residences", nil).into(w.t, http.StatusOK, &page)
	for _, r := range page.Items {
		if r.Device == id {
			look(r)
			return
		}
	}
	w.t.Errorf("no residence of %s in %+v", id, page)
}

// audited reads both regions' chains as operators: whole, and with the move in all that took part.
func (w *world) audited(id mfpgate.MoveID) {
	w.t.Helper()
	for _, r := range []*servertest.Region{w.jp, w.us} {
		operator := mfpgate.Secret("hana:" + r.Operator(w.t, "hana").Reveal())
		for _, room := range []string{"management", "services"} {
			var chains api.Page[region.Chain]
			w.call(r.HTTP(w.t), http.MethodGet, r.URL+"/v1/audit/"+room+"/verify", operator, nil).into(w.t, http.StatusOK, &chains)
			if len(chains.Items) != 1 || chains.Items[0].Wrong != "" || chains.Items[0].Writer != r.Name+"/"+room {
				w.t.Errorf("%s %s: %+v", r.Name, room, chains)
			}
			var list api.Page[journal.Entry]
			w.call(r.HTTP(w.t), http.MethodGet, r.URL+"/v1/audit/"+room+"?limit=500", operator, nil).into(w.t, http.StatusOK, &list)
			if !slices.ContainsFunc(list.Items, func(e journal.Entry) bool { return strings.Contains(string(e.After), string(id)) }) {
				w.t.Errorf("%s %s says nothing of the move", r.Name, room)
			}
			if r != w.us || room != "management" {
				continue
			}
			var said []string // whoever holds the regions' words against each other needs each of them
			for _, e := range slices.Backward(list.Items) {
				var after mfpgate.MoveTrace
				servertest.Must(w.t, json.Unmarshal(e.After, &after))
				said = append(said, e.Actor+": "+after.State)
			}
			if diff := cmp.Diff([]string{"region jp: moved", "device us-mfp-1: acknowledged", "region jp: "}, said); diff != "" {
				w.t.Errorf("what the source's management server did (-want +got):\n%s", diff)
			}
		}
	}
}

func TestAnAbortedMoveLeavesAllAsItWas(t *testing.T) {
	w := open(t, servertest.Pairing{})
	const mfp = "us-mfp-2"
	w.tell("dev_2", "US000002", "us")
	b := w.start(w.us, mfp, "US000002", "whiteboard")
	m := w.move("dev_2")
	// Without probes the move waits at verify.
	w.until("the move waits", func() bool {
		w.gate(http.MethodGet, "/moves/"+string(m.ID), nil).into(t, http.StatusOK, &m)
		return m.Step == mfpgate.StepVerify
	})
	w.residence("dev_2", func(r mfpgate.Residence) {
		if r.State != mfpgate.ResidenceMoving || r.Home != "us" {
			t.Errorf("while it moves the residence is %+v", r)
		}
	})
	w.gate(http.MethodPost, "/moves/"+string(m.ID)+"/abort", api.MoveAct{Actor: "hana"}).into(t, http.StatusOK, nil)
	m = w.reach(m.ID, func(m mfpgate.Move) bool { return m.State.Ended() })
	if m.State != mfpgate.MoveRolledBack {
		t.Fatalf("the move is %+v", m)
	}
	var h mfpgate.Holding
	w.call(w.us.HTTP(t), http.MethodGet, w.us.Services+"/svc/v1/registrations/"+mfp, own(t, w.us), nil).into(t, http.StatusOK, &h)
	if h.State != mfpgate.HoldingActive || h.Registration != b.Registration || len(h.Services) != 1 || !slices.Equal(h.Services[0].Children, []string{"whiteboard"}) {
		t.Errorf("the source holds %+v", h)
	}
	w.residence("dev_2", func(r mfpgate.Residence) {
		if r.State != mfpgate.ResidenceAbroad || r.Home != "us" || r.Registration != b.Registration {
			t.Errorf("the residence is %+v", r)
		}
	})
}

// own is the credential of a region's own management server at its services.
func own(t *testing.T, r *servertest.Region) mfpgate.Secret {
	t.Helper()
	token, err := r.Folder.OwnToken(r.Name)
	servertest.Must(t, err)
	return token
}
