package region_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

// A peer that was agreed upon may have any device, also while nobody has said where it is: it is not taken for one that says no.
func TestAPeerWithoutAnAddressIsNoPeerThatSaysNo(t *testing.T) {
	of := servertest.Peers(t, servertest.Pairing{Connect: connect, With: func(name string) []servertest.Option {
		return []servertest.Option{func(o *server.Options) {
			if name == "jp" {
				delete(o.Moves.Peers, "us") // as without --peer
			}
		}}
	}})
	w := &world{t: t, jp: of["jp"], us: of["us"]}
	w.token = w.jp.Gateway(t, gateway)
	const mfp, serial = "us-mfp-1", "US000001"
	w.tell("dev_1", serial, "us")
	w.start(w.us, mfp, serial) // us knows the way to jp

	first := w.device(w.jp, mfp, http.MethodPost, api.DevicesPath, api.DeviceRegistration{
		Model: model, Serial: serial, Services: []mfpgate.HeldService{{ID: "document-cloud"}},
	})
	first.refused(t, http.StatusServiceUnavailable, "peer-without-address")
	for _, says := range []string{"--peer us=URL", "mfpcloud peer remove us"} {
		if !strings.Contains(string(first.body), says) {
			t.Errorf("the refusal does not say %q: %s", says, first.body)
		}
	}
	logged := func(says ...string) bool {
	lines:
		for _, line := range w.jp.Log() {
			for _, s := range says {
				if !strings.Contains(line, s) {
					continue lines
				}
			}
			return true
		}
		return false
	}
	w.until("the refusal is logged", func() bool {
		return logged(`"level":"error"`, api.DevicesPath, `"reason":"peer-without-address"`, "--peer us=URL")
	})
	w.until("an operator is told before any device comes", func() bool { return logged("move.unreached", "--peer us=URL") })

	// Nothing is registered, and nothing else says that nobody has the device.
	w.call(w.jp.HTTP(t), http.MethodGet, w.jp.URL+api.HoldingsPath+"/"+mfp, own(t, w.jp), nil).refused(t, http.StatusNotFound, api.NotRegistered)
	w.call(w.jp.HTTP(t), http.MethodGet, w.jp.URL+api.RegistrantsPath+"?model="+model+"&serial="+serial, own(t, w.jp), nil).
		refused(t, http.StatusNotFound, api.NotRegistered)
	w.residence("dev_1", func(r mfpgate.Residence) {
		if r.State != mfpgate.ResidenceUnknown || r.Reason != "region-unreached" {
			t.Errorf("the residence is %+v", r)
		}
	})
	w.gate(http.MethodPost, "/moves", api.MoveStart{MoveRequest: mfpgate.MoveRequest{Device: "dev_1", To: "jp"}, DryRun: true}).
		refused(t, http.StatusServiceUnavailable, "region-unreached")
	w.gate(http.MethodPost, "/registrations", api.EnrolRequest{DeviceID: "dev_1"}).refused(t, http.StatusServiceUnavailable, "peer-without-address")

	// Without the agreement there is nobody to ask. What was read of it is read again after a second.
	servertest.Must(t, w.jp.Folder.RemovePeer("us"))
	w.until("the device registers", func() bool {
		return w.device(w.jp, mfp, http.MethodPost, api.DevicesPath, api.DeviceRegistration{
			Model: model, Serial: serial, Services: []mfpgate.HeldService{{ID: "document-cloud"}},
		}).status == http.StatusOK
	})
}
