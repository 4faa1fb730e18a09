package region_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate"
	broker "github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/region"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

// liar changes what a region answers. It stands behind the client, which has found nothing wrong.
type liar struct {
	broker.Management
	broker.Services
	lie    func(mfpgate.MoveOrder, *mfpgate.MoveAnswer)
	invent func(*mfpgate.Registrant)
}

type (
	lyingManagement struct{ liar }
	lyingServices   struct{ liar }
)

func (l lyingManagement) Find(ctx context.Context, model, serial string) (mfpgate.Registrant, error) {
	r, err := l.Management.Find(ctx, model, serial)
	l.invent(&r)
	return r, err
}

func (l lyingManagement) Order(ctx context.Context, o mfpgate.MoveOrder) (mfpgate.MoveAnswer, error) {
	a, err := l.Management.Order(ctx, o)
	l.lie(o, &a)
	return a, err
}

func (l lyingServices) Order(ctx context.Context, o mfpgate.MoveOrder) (mfpgate.MoveAnswer, error) {
	a, err := l.Services.Order(ctx, o)
	l.lie(o, &a)
	return a, err
}

// TestWhatAPeerSaysIsHeldAgainstWhatIsKnown: the gateway's word on its device, and the key that the peer signs with.
func TestWhatAPeerSaysIsHeldAgainstWhatIsKnown(t *testing.T) {
	lie := func(o mfpgate.MoveOrder, a *mfpgate.MoveAnswer) {
		switch {
		case o.MFP == "us-mfp-1":
			a.Management = bytes.ReplaceAll(a.Management, []byte("US000001"), []byte("US000009"))
		case a.Receipt != nil:
			purged := *a.Receipt
			purged.Purged, a.Receipt = nil, &purged
		}
	}
	invention := func(*mfpgate.Registrant) {}
	invent := func(r *mfpgate.Registrant) { invention(r) }
	of := servertest.Peers(t, servertest.Pairing{Connect: func(p region.Peering) (*region.Link, error) {
		link, err := connect(p)
		if err == nil && p.Region == "us" {
			l := liar{link.Management, link.Services, lie, invent}
			link.Management, link.Services = lyingManagement{l}, lyingServices{l}
		}
		return link, err
	}})
	w := &world{t: t, jp: of["jp"], us: of["us"]}
	w.token = w.jp.Gateway(t, gateway)
	for _, c := range []struct {
		rule, n string
		state   mfpgate.MoveState
		says    string
	}{
		{"another device's serial number", "1", mfpgate.MoveRolledBack, "US000009"},
		{"a receipt that is not what was signed", "2", mfpgate.MoveCommitted, "not signed"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			id, mfp, serial := "dev_"+c.n, "us-mfp-"+c.n, "US00000"+c.n
			w.tell(id, serial, "us")
			w.start(w.us, mfp, serial)
			w.device(w.us, mfp, http.MethodPut, "/svc/v1/devices/"+mfp+"/data/jobs/a", []byte("x")).into(t, http.StatusNoContent, nil)
			m := w.reach(w.move(id).ID, func(m mfpgate.Move) bool {
				return m.Reason == broker.RegionLied && m.State != mfpgate.MoveCompensating || m.Receipt != nil
			})
			if m.State != c.state || !strings.Contains(m.Detail, c.says) || m.Receipt != nil {
				t.Errorf("%s in step %s, receipt %+v: %s", m.State, m.Step, m.Receipt, m.Detail)
			}
		})
	}
	// A device is registered under its market's id if that is its home's, too.
	const mfp, serial = "us-mfp-3", "US000003"
	w.tell("dev_3", serial, "us")
	b := w.start(w.us, mfp, serial)
	for rule, lie := range map[string]func(*mfpgate.Registrant){
		"it has the device under another one's id": func(r *mfpgate.Registrant) { r.State = mfpgate.HoldingForeign },
		"the device is here":                       func(r *mfpgate.Registrant) { r.Region = "jp" },
		"its id is another region's":               func(r *mfpgate.Registrant) { r.Registration = strings.Replace(b.Registration, ".us.", ".de.", 1) },
	} {
		t.Run(rule, func(t *testing.T) {
			invention = lie
			w.gate(http.MethodPost, "/registrations", api.EnrolRequest{DeviceID: "dev_3"}).refused(t, http.StatusConflict, "registered-elsewhere")
		})
	}
	invention = func(*mfpgate.Registrant) {}
	w.gate(http.MethodPost, "/registrations", api.EnrolRequest{DeviceID: "dev_3"}).into(t, http.StatusOK, nil)
}
