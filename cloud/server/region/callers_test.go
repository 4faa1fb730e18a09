package region_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

// TestEachEndpointNamesItsCallers calls every endpoint of both roles as everybody.
func TestEachEndpointNamesItsCallers(t *testing.T) {
	w := open(t, servertest.Pairing{})
	const mfp, other = "us-mfp-1", "us-mfp-2"
	peers, err := w.us.Folder.Peers() // what us calls jp with
	servertest.Must(t, err)
	callers := map[string]mfpgate.Secret{
		"nobody": "", "a stranger": "us~management.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"the gateway": w.token, "another gateway": w.jp.Gateway(t, "kobe-1"),
		"the device": w.jp.Device(t, mfp), "another device": w.jp.Device(t, other),
		"an operator":     mfpgate.Secret("hana:" + w.jp.Operator(t, "hana").Reveal()),
		"us's management": peers[0].Management, "us's services": peers[0].Services, "the own management": own(t, w.jp),
	}
	const move = "/mov_01J00000000000000000000000"
	order := mfpgate.MoveOrder{Move: "mov_1", Step: mfpgate.StepUnlink, Epoch: 2, MFP: mfp, From: "jp", To: "us", Registration: "r1.us.2.x"}
	told := map[string]bool{}
	everybody := []string{"nobody", "a stranger", "the gateway", "another gateway", "the device", "another device", "an operator", "us's management", "us's services", "the own management"}
	for _, c := range []struct {
		method, path string
		in           any
		may          []string
	}{
		{"GET", "/v1/regions", nil, everybody},
		{"GET", "/v1/region-keys", nil, everybody},
		{"POST", "/v1/gateways/{gw}/moves", api.MoveStart{DryRun: true}, []string{"the gateway"}},
		{"GET", "/v1/gateways/{gw}/moves", nil, []string{"the gateway"}},
		{"GET", "/v1/gateways/{gw}/moves/{id}", nil, []string{"the gateway"}},
		{"POST", "/v1/gateways/{gw}/moves/{id}/{verb}", api.MoveAct{}, []string{"the gateway"}},
		{"GET", "/v1/gateways/{gw}/residences", nil, []string{"the gateway"}},
		{"POST", "/v1/gateways/{gw}/registrations", api.EnrolRequest{DeviceID: "dev_x"}, []string{"the gateway"}},
		{"GET", "/v1/moves", nil, []string{"an operator"}},
		{"GET", "/v1/moves/{id}", nil, []string{"an operator"}},
		{"POST", "/v1/moves/{id}/{verb}", nil, []string{"an operator"}},
		{"GET", "/v1/audit/{room}", nil, []string{"an operator"}},
		{"GET", "/v1/audit/{room}/verify", nil, []string{"an operator"}},
		{"GET", "/mgmt/v1/registrants", nil, []string{"us's management", "the own management"}},
		{"POST", "/mgmt/v1/orders", order, []string{"us's management"}},
		{"POST", "/device/v1/registrations", api.DeviceRegistration{Model: "M", Serial: "none"}, []string{"the device", "another device"}},
		{"GET", "/device/v1/directive", nil, []string{"the device", "another device"}},
		{"POST", "/device/v1/directive/ack", api.DirectiveAck{Move: "mov_1", Epoch: 2}, []string{"the device", "another device"}},
		{"GET", "/svc/v1/rollout", nil, []string{"us's management", "the own management"}},
		{"GET", "/svc/v1/registrations", nil, []string{"an operator"}},
		{"GET", "/svc/v1/registrations/{mfp}", nil, []string{"us's management", "the own management"}},
		{"POST", "/svc/v1/registrations", api.ServiceRegistration{MFP: mfp, Services: []mfpgate.HeldService{}}, []string{"the own management"}},
		{"POST", "/svc/v1/registrations/{order}", order, []string{"us's management"}},
		{"PUT", "/svc/v1/registrations/{mfp}", mfpgate.HoldingTransfer{Order: mfpgate.MoveOrder{MFP: mfp, Move: "mov_1", Step: mfpgate.StepCopy, From: "us", To: "jp"}}, []string{"us's services"}},
		{"POST", "/svc/v1/devices/{mfp}/check-ins", api.ServiceCheckIn{Epoch: 1}, []string{"the device"}},
		{"GET", "/svc/v1/devices/{mfp}/data/{class}/{item}", nil, []string{"the device"}},
		{"PUT", "/svc/v1/devices/{mfp}/data/{class}/{item}", []byte("x"), []string{"the device"}},
		{"DELETE", "/svc/v1/devices/{mfp}/data/{class}/{item}", nil, []string{"the device"}},
	} {
		verb := map[bool]string{true: "switch", false: "retry"}[strings.Contains(c.path, "gateways")]
		path := strings.NewReplacer("{gw}", gateway, "/{id}", move, "{verb}", verb, "{room}", "services", "{mfp}", mfp, "{order}", mfp+":unlink",
			"{class}", "jobs", "{item}", "a").Replace(c.path)
		switch c.path {
		case "/mgmt/v1/registrants":
			path += "?model=M&serial=S1"
		case "/svc/v1/rollout":
			path += "?country=jp"
		}
		for who, token := range callers {
			r := w.call(w.jp.HTTP(t), c.method, w.jp.URL+path, token, c.in)
			denied := r.status == http.StatusUnauthorized || r.status == http.StatusForbidden
			if may := slices.Contains(c.may, who); denied == may || r.status >= 500 {
				t.Errorf("%s %s as %s: %d %s; it may: %v", c.method, path, who, r.status, r.body, may)
			}
		}
		told[c.method+" "+c.path] = true
	}
	// The table forgets none.
	var document struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	w.call(w.jp.HTTP(t), http.MethodGet, w.jp.URL+"/openapi.json", "", nil).into(t, http.StatusOK, &document)
	for path, methods := range document.Paths {
		for _, part := range []string{"/svc/", "/mgmt/", "/device/v1/", "/v1/moves", "/v1/audit", "/v1/region", "{gw}/moves", "{gw}/residences", "{gw}/registrations"} {
			if !strings.Contains(path, part) {
				continue
			}
			for method := range methods {
				if !told[strings.ToUpper(method)+" "+path] {
					t.Errorf("%s %s is not in the table", strings.ToUpper(method), path)
				}
			}
		}
	}
}

// TestAnInvitationThatIsTakenBackOpensNothing says the same of a peer that is no more.
func TestAnInvitationThatIsTakenBackOpensNothing(t *testing.T) {
	w := open(t, servertest.Pairing{})
	peers, err := w.us.Folder.Peers()
	servertest.Must(t, err)
	find := func() reply {
		return w.call(w.jp.HTTP(t), http.MethodGet, w.jp.URL+"/mgmt/v1/registrants?model=M&serial=S1", peers[0].Management, nil)
	}
	find().refused(t, http.StatusNotFound, api.NotRegistered)
	servertest.Must(t, w.jp.Folder.RemovePeer("us"))
	find().refused(t, http.StatusUnauthorized, "token-refused")
	i, err := w.jp.Folder.InvitePeer("jp", "us")
	servertest.Must(t, err)
	find().refused(t, http.StatusUnauthorized, "token-refused")
	servertest.Must(t, w.us.Folder.AcceptPeer(i, nil))
	if again, err := w.us.Folder.Peers(); err != nil || again[0].Management.Equal(peers[0].Management) {
		t.Errorf("%v: the token is the old one", err)
	}
}

// TestListenersOfTheirOwnServeOneRole is of --service-listen.
func TestListenersOfTheirOwnServeOneRole(t *testing.T) {
	w := open(t, servertest.Pairing{Apart: true})
	management := own(t, w.jp)
	for _, c := range []struct {
		rule, url string
		status    int
	}{
		{"the services answer what is theirs", w.jp.Services + "/svc/v1/rollout?country=jp", http.StatusOK},
		{"the management server does not", w.jp.URL + "/svc/v1/rollout?country=jp", http.StatusNotFound},
		{"nor by another spelling of the path", w.jp.URL + "//svc/v1/rollout?country=jp", http.StatusNotFound},
		{"nor by an escaped one", w.jp.URL + "/%73vc/v1/rollout?country=jp", http.StatusNotFound},
		{"the management server answers what is its own", w.jp.URL + "/v1/regions", http.StatusOK},
		{"the services do not", w.jp.Services + "/v1/regions", http.StatusNotFound},
		{"nor do they show pages", w.jp.Services + "/ui/", http.StatusNotFound},
		{"nor by a way round", w.jp.Services + "/svc/../v1/regions", http.StatusNotFound},
	} {
		if r := w.call(w.jp.HTTP(t), http.MethodGet, c.url, management, nil); r.status != c.status {
			t.Errorf("%s: %s: %d %s", c.rule, c.url, r.status, r.body)
		}
	}
}
