package region_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/region"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

// TestADeviceIsRegisteredUnderTheIDOfItsMarket is embodiment 1 (claims 3 and 4, figures 6 to 8): the local management server gets the
// device's id from that of its market, and registers the device with the local services; no data move.
func TestADeviceIsRegisteredUnderTheIDOfItsMarket(t *testing.T) {
	w := open(t, servertest.Pairing{})
	const mfp = "us-mfp-1"
	w.tell("dev_1", "US000001", "us")
	enrol := func(in api.EnrolRequest) reply { return w.gate(http.MethodPost, "/registrations", in) }

	// The market does not know it yet.
	r := enrol(api.EnrolRequest{DeviceID: "dev_1", Actor: "hana"})
	r.refused(t, http.StatusNotFound, api.UnknownHere)
	if !strings.Contains(string(r.body), "neither region jp nor us") {
		t.Errorf("the refusal says %s", r.body)
	}
	b := w.start(w.us, mfp, "US000001", "translate", "whiteboard")
	w.device(w.us, mfp, http.MethodPut, "/svc/v1/devices/"+mfp+"/data/jobs/a", []byte("x")).into(t, http.StatusNoContent, nil)

	forged, err := region.ParseID(b.Registration)
	servertest.Must(t, err)
	for _, c := range []struct {
		rule   string
		in     api.EnrolRequest
		status int
		reason string
	}{
		{"a device that the gateway does not tell of", api.EnrolRequest{DeviceID: "dev_9"}, 404, "unknown-device"},
		{"an id that its issuer did not make", api.EnrolRequest{DeviceID: "dev_1", Registration: "r1.us.1." + forged.Serial + ".0123456789abcdef"}, 422, "registration-id-false"},
		{"an id of this region that it did not issue", api.EnrolRequest{DeviceID: "dev_1", Registration: "r1.jp.1." + forged.Serial + ".0123456789abcdef"}, 422, "registration-id-false"},
		{"no id at all", api.EnrolRequest{DeviceID: "dev_1", Registration: "42"}, 422, "registration-id-false"},
		{"an id of a region that is no peer", api.EnrolRequest{DeviceID: "dev_1", Registration: "r1.de.1." + forged.Serial + ".0123456789abcdef"}, 503, "no-peer"},
	} {
		r := enrol(c.in)
		if r.status != c.status || r.reason() != c.reason {
			t.Errorf("%s: %d %s", c.rule, r.status, r.body)
		}
	}

	var home mfpgate.Residence
	for range 2 { // the same again is the same
		enrol(api.EnrolRequest{DeviceID: "dev_1"}).into(t, http.StatusOK, &home)
	}
	enrol(api.EnrolRequest{DeviceID: "dev_1", Registration: b.Registration}).into(t, http.StatusOK, &home)
	if home.State != mfpgate.ResidenceForeign || home.Home != "us" || home.Registration != b.Registration || len(home.Data) != 1 || home.Data[0].Region != "us" {
		t.Errorf("the residence is %+v", home)
	}
	if len(home.Services) != 1 || !slices.Equal(home.Services[0].Children, []string{"translate"}) { // whiteboard is not offered here
		t.Errorf("it is registered in %+v", home.Services)
	}
	var h mfpgate.Holding
	w.call(w.jp.HTTP(t), http.MethodGet, w.jp.URL+"/svc/v1/registrations/"+mfp, own(t, w.jp), nil).into(t, http.StatusOK, &h)
	if h.State != mfpgate.HoldingForeign || h.Registration != b.Registration || len(h.Data) != 0 {
		t.Errorf("the services hold %+v", h)
	}
	// It is served here by its id, and its data are not.
	var brief api.HoldingBrief
	w.device(w.jp, mfp, http.MethodPost, "/svc/v1/devices/"+mfp+"/check-ins", api.ServiceCheckIn{Epoch: 1}).into(t, http.StatusOK, &brief)
	if brief.Registration != b.Registration || brief.State != mfpgate.HoldingForeign {
		t.Errorf("the services say %+v", brief)
	}
	w.device(w.jp, mfp, http.MethodGet, "/svc/v1/devices/"+mfp+"/data/jobs/a", nil).refused(t, http.StatusMisdirectedRequest, api.Moved)

	// Later its data move, too.
	m := w.move("dev_1")
	m = w.reach(m.ID, func(m mfpgate.Move) bool { return m.State.Ended() || m.Step == mfpgate.StepRedirect })
	if m.State != mfpgate.MoveCommitted {
		t.Fatalf("the move is %+v", m)
	}
	w.residence("dev_1", func(r mfpgate.Residence) {
		if r.State != mfpgate.ResidenceHome || r.Home != "jp" || r.Epoch != 2 {
			t.Errorf("after the move the residence is %+v", r)
		}
	})
	enrol(api.EnrolRequest{DeviceID: "dev_1", Registration: "r1.jp.2." + forged.Serial + ".0123456789abcdef"}).refused(t, http.StatusUnprocessableEntity, "registration-id-false")
	enrol(api.EnrolRequest{DeviceID: "dev_1", Registration: m.NewRegistration}).into(t, http.StatusOK, &home)
}

// TestADeviceThatHasNotReadItsDirectiveKeepsIt: registered here again under its new region's id, it would learn of that region from nobody.
func TestADeviceThatHasNotReadItsDirectiveKeepsIt(t *testing.T) {
	w := open(t, servertest.Pairing{})
	const mfp, serial = "mfp-1", "XX000001"
	w.tell("dev_1", serial, "us")
	w.start(w.jp, mfp, serial)
	peers, err := w.us.Folder.Peers()
	servertest.Must(t, err)
	left := mfpgate.MoveOrder{Move: "mov_1", Step: mfpgate.StepNotify, Epoch: 2, MFP: mfp, From: "jp", To: "us", Registration: "r1.us.2.x"}
	w.call(w.jp.HTTP(t), http.MethodPost, w.jp.URL+api.OrdersPath, peers[0].Management, left).into(t, http.StatusOK, nil)
	w.start(w.us, mfp, serial)

	w.gate(http.MethodPost, "/registrations", api.EnrolRequest{DeviceID: "dev_1"}).refused(t, http.StatusConflict, "registered-elsewhere")
	w.device(w.jp, mfp, http.MethodGet, api.DirectivePath, nil).into(t, http.StatusOK, nil)
}

func TestIDs(t *testing.T) {
	key, other := mfpgate.Secret(strings.Repeat("k", 32)), mfpgate.Secret(strings.Repeat("o", 32))
	text := region.Mint(mfpgate.SystemClock{}, key, "jp", 7)
	id, err := region.ParseID(text)
	if err != nil || id.Region != "jp" || id.Epoch != 7 || !id.Genuine(key) || id.Genuine(other) {
		t.Fatalf("%s: %+v, %v", text, id, err)
	}
	for _, change := range []struct{ from, to string }{{".jp.", ".us."}, {".7.", ".8."}} {
		if id, err := region.ParseID(strings.Replace(text, change.from, change.to, 1)); err != nil || id.Genuine(key) {
			t.Errorf("%v: genuine, or %v", change, err)
		}
	}
	for _, bad := range []string{"", "r1", "r2" + text[2:], strings.Replace(text, ".7.", ".07.", 1), strings.Replace(text, ".7.", ".0.", 1), text + "0", text + ".x",
		strings.ToUpper(text), strings.Replace(text, "jp", "japan", 1), strings.Repeat("r1.", 40)} {
		if _, err := region.ParseID(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func FuzzParseID(f *testing.F) {
	key := mfpgate.Secret(strings.Repeat("k", 32))
	f.Add(region.Mint(mfpgate.SystemClock{}, key, "jp", 1))
	f.Add("r1.jp.1.01J00000000000000000000000.0123456789abcdef")
	f.Fuzz(func(t *testing.T, text string) {
		if id, err := region.ParseID(text); err == nil && (len(id.Region) != 2 || id.Epoch == 0 || len(text) > 80) {
			t.Fatalf("%q: %+v", text, id)
		}
	})
}
