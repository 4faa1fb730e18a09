package region_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

// TestOrdersOfMovesThatAreNotTheCallers are what a peer that is hostile may send with good tokens.
func TestOrdersOfMovesThatAreNotTheCallers(t *testing.T) {
	w := open(t, servertest.Pairing{Regions: []string{"jp", "us", "de"}, Offers: map[string][]mfpgate.ServiceOffer{
		"jp": {{ID: "document-cloud"}}, "us": {{ID: "document-cloud"}}, "de": {{ID: "document-cloud"}},
	}})
	const mfp = "jp-mfp-1"
	b := w.start(w.jp, mfp, "JP000001")
	w.device(w.jp, mfp, http.MethodPut, "/svc/v1/devices/"+mfp+"/data/jobs/a", []byte("x")).into(t, http.StatusNoContent, nil)
	peers, err := w.us.Folder.Peers()
	servertest.Must(t, err)
	management, services := peers[1].Management, peers[1].Services // us's at jp
	if peers[1].Region != "jp" {
		t.Fatal("peers are not sorted")
	}
	order := func(step mfpgate.MoveStep, from, to string, epoch uint64) mfpgate.MoveOrder {
		return mfpgate.MoveOrder{Move: "mov_01J00000000000000000000000", Step: step, Epoch: epoch, MFP: mfp, From: from, To: to, Registration: b.Registration}
	}
	svc := func(path string, o mfpgate.MoveOrder) reply {
		return w.call(w.jp.HTTP(t), http.MethodPost, w.jp.URL+"/svc/v1/registrations/"+path, management, o)
	}
	mgmt := func(o mfpgate.MoveOrder) reply {
		return w.call(w.jp.HTTP(t), http.MethodPost, w.jp.URL+api.OrdersPath, management, o)
	}
	for _, c := range []struct {
		rule   string
		got    reply
		status int
		reason string
	}{
		{"a move to a third region", svc(mfp+":unlink", order(mfpgate.StepUnlink, "jp", "de", 2)), 403, "not-yours"},
		{"a move that this region has no part in", svc(mfp+":unlink", order(mfpgate.StepUnlink, "de", "us", 2)), 403, "not-yours"},
		{"a move to here, ordered from elsewhere", svc(mfp+":abort", order(mfpgate.StepAbort, "us", "jp", 2)), 403, "not-yours"},
		{"a move in a circle", svc(mfp+":unlink", order(mfpgate.StepUnlink, "us", "us", 2)), 403, "not-yours"},
		{"another step than the path says", svc(mfp+":drain", order(mfpgate.StepUnlink, "jp", "us", 2)), 422, "invalid-request"},
		{"another device than the path says", svc("jp-mfp-2:unlink", order(mfpgate.StepUnlink, "jp", "us", 2)), 422, "invalid-request"},
		{"a step that there is not", svc(mfp+":explode", order("explode", "jp", "us", 2)), 422, "invalid-request"},
		{"a leap over epochs", svc(mfp+":drain", order(mfpgate.StepDrain, "jp", "us", 9)), 409, api.OutOfTurn},
		{"a purge without a copy", svc(mfp+":retire", order(mfpgate.StepRetire, "jp", "us", 2)), 409, api.OutOfTurn},
		{"a step of the target's", svc(mfp+":activate", order(mfpgate.StepActivate, "jp", "us", 2)), 409, api.OutOfTurn},
		{"of the management server: a third region", mgmt(order(mfpgate.StepNotify, "jp", "de", 2)), 403, "not-yours"},
		{"of the management server: not its move", mgmt(order(mfpgate.StepNotify, "us", "us", 2)), 403, "not-yours"},
		{"of the management server: a leap", mgmt(order(mfpgate.StepNotify, "jp", "us", 9)), 409, api.OutOfTurn},
		{"of the management server: a step of the services'", mgmt(order(mfpgate.StepDrain, "jp", "us", 2)), 409, api.OutOfTurn},
		{"of the management server: forget without a success", mgmt(order(mfpgate.StepDelete, "jp", "us", 2)), 409, api.OutOfTurn},
		{"of the management server: redirect without a success", mgmt(order(mfpgate.StepRedirect, "jp", "us", 2)), 409, api.OutOfTurn},
	} {
		if c.got.status != c.status || c.got.reason() != c.reason {
			t.Errorf("%s: %d %s, want %d %s", c.rule, c.got.status, c.got.body, c.status, c.reason)
		}
	}
	transfer := func(o mfpgate.MoveOrder, items ...mfpgate.HeldItem) reply {
		return w.call(w.jp.HTTP(t), http.MethodPut, w.jp.URL+"/svc/v1/registrations/"+mfp, services,
			mfpgate.HoldingTransfer{Order: o, Services: []mfpgate.HeldService{{ID: "document-cloud"}}, Items: items})
	}
	big := make([]mfpgate.HeldItem, 300)
	for i := range big {
		big[i] = mfpgate.HeldItem{Class: "jobs", Name: "a" + string(rune('a'+i%26)), Value: bytes.Repeat([]byte("x"), 32<<10)}
	}
	for _, c := range []struct {
		rule   string
		got    reply
		status int
		reason string
	}{
		{"a copy of a third region's device", transfer(order(mfpgate.StepCopy, "de", "jp", 2)), 403, "not-yours"},
		{"a copy for another region", transfer(order(mfpgate.StepCopy, "us", "de", 2)), 403, "not-yours"},
		{"a copy that is another step", transfer(order(mfpgate.StepActivate, "us", "jp", 2)), 422, "invalid-request"},
		{"a copy over a device that is active here", transfer(order(mfpgate.StepCopy, "us", "jp", 2)), 409, api.OutOfTurn},
		{"a copy that is too large", transfer(order(mfpgate.StepCopy, "us", "jp", 2), big...), 413, "too-large"},
	} {
		if c.got.status != c.status || c.got.reason() != c.reason {
			t.Errorf("%s: %d %.300s, want %d %s", c.rule, c.got.status, c.got.body, c.status, c.reason)
		}
	}
	body := bytes.Repeat([]byte("x"), api.MaxItem+1)
	w.device(w.jp, mfp, http.MethodPut, "/svc/v1/devices/"+mfp+"/data/jobs/b", body).refused(t, http.StatusRequestEntityTooLarge, "too-large")
	w.device(w.jp, mfp, http.MethodGet, "/svc/v1/devices/"+mfp+"/data/jobs/a", nil).into(t, http.StatusOK, nil)
	var after api.HoldingBrief
	w.device(w.jp, mfp, http.MethodPost, "/svc/v1/devices/"+mfp+"/check-ins", api.ServiceCheckIn{Epoch: 1}).into(t, http.StatusOK, &after)
	if after.State != mfpgate.HoldingActive || after.Registration != b.Registration {
		t.Errorf("after all that the device is %+v", after)
	}
}

func TestADeviceIsRegisteredOnce(t *testing.T) {
	w := open(t, servertest.Pairing{})
	w.start(w.us, "us-mfp-1", "US000001")
	ask := func(r *servertest.Region, mfp string, in api.DeviceRegistration) reply {
		return w.device(r, mfp, http.MethodPost, api.DevicesPath, in)
	}
	plain := api.DeviceRegistration{Model: model, Serial: "US000001", Services: []mfpgate.HeldService{}}
	ask(w.jp, "us-mfp-1", plain).refused(t, http.StatusConflict, "registered-elsewhere")
	ask(w.us, "us-mfp-2", plain).refused(t, http.StatusConflict, api.DeviceTaken)
	plain.Serial = "none"
	ask(w.us, "us-mfp-3", plain).refused(t, http.StatusUnprocessableEntity, "no-serial")
	plain.Serial, plain.Services = "US000003", []mfpgate.HeldService{{ID: "fax-cloud"}}
	ask(w.us, "us-mfp-3", plain).refused(t, http.StatusUnprocessableEntity, "not-offered")
	// A peer that does not answer might have the device.
	w.us.Stop()
	plain.Services = nil
	r := ask(w.jp, "us-mfp-3", plain)
	r.refused(t, http.StatusServiceUnavailable, "region-unreached")
	if r.header.Get("Retry-After") == "" {
		t.Error("without Retry-After")
	}
	// What it said of its hosts is still told.
	var doc api.SignedRegions
	w.call(w.jp.HTTP(t), http.MethodGet, w.jp.URL+api.RegionsPath, "", nil).into(t, http.StatusOK, &doc)
	if len(doc.Items) != 2 {
		t.Errorf("the regions are %+v", doc.Items)
	}
}

// TestPeersThatCannotBeReadAreNotNone is of a damaged agreement: what would be true only without that peer is not said.
func TestPeersThatCannotBeReadAreNotNone(t *testing.T) {
	w := open(t, servertest.Pairing{})
	w.start(w.us, "us-mfp-1", "US000001")
	servertest.Must(t, os.WriteFile(filepath.Join(w.jp.Dir, "peers", "us.accepted.json"), []byte("{"), 0o600))
	regions := func() reply { return w.call(w.jp.HTTP(t), http.MethodGet, w.jp.URL+api.RegionsPath, "", nil) }
	w.until("the region reads its agreements again", func() bool { return !bytes.Contains(regions().body, []byte(`"us"`)) })
	if r := regions(); r.status != http.StatusInternalServerError {
		t.Errorf("where the regions are: %d %s", r.status, r.body) // every gateway would forget us
	}
	for _, of := range []string{"us-mfp-1", "jp-mfp-1"} {
		r := w.device(w.jp, of, http.MethodPost, api.DevicesPath, api.DeviceRegistration{
			Model: model, Serial: strings.ToUpper(of[:2]) + "000001", Services: []mfpgate.HeldService{{ID: "document-cloud", Children: []string{}}}})
		if r.status != http.StatusInternalServerError {
			t.Errorf("%s: %d %s", of, r.status, r.body)
		}
	}
}

func TestCallsThatWaitAreFew(t *testing.T) {
	w := open(t, servertest.Pairing{})
	done := make(chan int, 8)
	for range 8 {
		go func() { done <- w.gate(http.MethodGet, "/moves?wait=2", nil).status }()
	}
	got := map[int]int{}
	for range 8 {
		got[<-done]++
	}
	if got[http.StatusOK] < 4 || got[http.StatusTooManyRequests] < 1 || got[http.StatusOK]+got[http.StatusTooManyRequests] != 8 {
		t.Errorf("answers: %v", got)
	}
}
