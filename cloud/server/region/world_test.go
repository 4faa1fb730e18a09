package region_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
	"github.com/mfpgate/mfpgate/cloud/client/peer"
	"github.com/mfpgate/mfpgate/cloud/server/region"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

// connect is what mfpcloud does.
func connect(p region.Peering) (*region.Link, error) {
	to, err := peer.Open(peer.Options{
		Region: p.Region, ManagementURL: p.ManagementURL, ServicesURL: p.ServicesURL, ManagementToken: p.ManagementToken, ServicesToken: p.ServicesToken,
		Keys: p.Keys, RootCAs: p.RootCAs, Clock: p.Clock,
	})
	if err != nil {
		return nil, err
	}
	s := to.Services()
	return &region.Link{Services: s, Management: to.Management(), Register: s.Register, Send: s.Send, Hosts: to.Hosts, Close: to.Close}, nil
}

const (
	gateway = "osaka-1"
	model   = "SIM-100"
)

// world is two regions, jp where the gateway stands and us.
type world struct {
	t      *testing.T
	jp, us *servertest.Region
	token  mfpgate.Secret // the gateway's at jp
	keys   atomic.Int64
}

func open(t *testing.T, p servertest.Pairing) *world {
	t.Helper()
	p.Connect = connect
	of := servertest.Peers(t, p)
	w := &world{t: t, jp: of["jp"], us: of["us"]}
	w.token = w.jp.Gateway(t, gateway)
	for _, r := range of {
		w.until("the regions know each other's hosts", func() bool {
			var doc api.SignedRegions
			w.call(r.HTTP(t), http.MethodGet, r.URL+api.RegionsPath, "", nil).into(t, http.StatusOK, &doc)
			return len(doc.Items) == len(of)
		})
	}
	return w
}

type reply struct {
	what   string
	status int
	header http.Header
	body   []byte
}

func (r reply) reason() string {
	var p api.Problem
	_ = json.Unmarshal(r.body, &p)
	return p.Reason()
}

// into wants a status, and reads the document.
func (r reply) into(t *testing.T, status int, out any) {
	t.Helper()
	if r.status != status {
		t.Fatalf("%s: %d, want %d: %s", r.what, r.status, status, r.body)
	}
	if out != nil {
		servertest.Must(t, json.Unmarshal(r.body, out))
	}
}

// refused wants a refusal.
func (r reply) refused(t *testing.T, status int, reason string) {
	t.Helper()
	if r.status != status || r.reason() != reason {
		t.Errorf("%s: %d %s, want %d %s: %s", r.what, r.status, r.reason(), status, reason, r.body)
	}
}

// call makes one request. in is JSON of anything, or bytes as they are.
func (w *world) call(c *http.Client, method, url string, token mfpgate.Secret, in any, headers ...string) reply {
	w.t.Helper()
	var body io.Reader
	kind := "application/json"
	switch v := in.(type) {
	case nil:
	case []byte:
		body, kind = bytes.NewReader(v), "application/octet-stream"
	default:
		data, err := json.Marshal(v)
		servertest.Must(w.t, err)
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, url, body)
	servertest.Must(w.t, err)
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Idempotency-Key", fmt.Sprint("key-", w.keys.Add(1)))
	switch user, password, basic := strings.Cut(token.Reveal(), ":"); {
	case basic:
		req.SetBasicAuth(user, password)
	case token != "":
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.Do(req)
	servertest.Must(w.t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	servertest.Must(w.t, err)
	return reply{method + " " + url, res.StatusCode, res.Header, data}
}

// gate calls jp as the gateway.
func (w *world) gate(method, path string, in any, headers ...string) reply {
	w.t.Helper()
	return w.call(w.jp.HTTP(w.t), method, w.jp.URL+"/v1/gateways/"+gateway+path, w.token, in, headers...)
}

// device calls a region as a device; those of /svc go to the services.
func (w *world) device(r *servertest.Region, mfp, method, path string, in any) reply {
	w.t.Helper()
	base := r.URL
	if strings.HasPrefix(path, "/svc/") {
		base = r.Services
	}
	return w.call(r.HTTP(w.t), method, base+path, r.Device(w.t, mfp), in)
}

// tell has the gateway tell of a device, and start makes a device register in a region.
func (w *world) tell(id, serial, market string) {
	w.t.Helper()
	w.gate(http.MethodPut, "/devices/"+id, api.Device{DeviceID: id, Make: "Sim", Model: model, Serial: serial, MonitoringMode: "proxy", Market: market},
		"If-None-Match", "*").into(w.t, http.StatusCreated, nil)
}

func (w *world) start(r *servertest.Region, mfp, serial string, children ...string) api.HoldingBrief {
	w.t.Helper()
	var b api.HoldingBrief
	w.device(r, mfp, http.MethodPost, api.DevicesPath, api.DeviceRegistration{
		Model: model, Serial: serial, Name: "2F", Services: []mfpgate.HeldService{{ID: "document-cloud", Children: children}},
	}).into(w.t, http.StatusOK, &b)
	return b
}

func (w *world) until(what string, done func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	for !done() {
		if mfpgate.Wait(ctx, mfpgate.SystemClock{}, 10*time.Millisecond) != nil {
			w.t.Fatalf("waited too long until %s\n%s\n%s", what, strings.Join(tail(w.jp.Log()), "\n"), strings.Join(tail(w.us.Log()), "\n"))
		}
	}
}

func tail(lines []string) []string { return lines[max(0, len(lines)-12):] }

// plan and move are the gateway's.
func (w *world) plan(id string) (p mfpgate.MovePlan) {
	w.t.Helper()
	w.gate(http.MethodPost, "/moves", api.MoveStart{MoveRequest: mfpgate.MoveRequest{Device: mfpgate.DeviceID(id), To: "jp"}, DryRun: true}).into(w.t, http.StatusOK, &p)
	return p
}

func (w *world) move(id string) (m mfpgate.Move) {
	w.t.Helper()
	p := w.plan(id)
	if len(p.Blockers) > 0 {
		w.t.Fatalf("blockers: %+v", p.Blockers)
	}
	w.gate(http.MethodPost, "/moves", api.MoveStart{MoveRequest: mfpgate.MoveRequest{Device: mfpgate.DeviceID(id), To: "jp", Plan: p.Hash}, Actor: "hana"}).
		into(w.t, http.StatusCreated, &m)
	return m
}

// reach follows the moves by long poll, as a gateway does, until one is at a step or has a state; it probes and switches.
func (w *world) reach(id mfpgate.MoveID, there func(mfpgate.Move) bool) (m mfpgate.Move) {
	w.t.Helper()
	cursor := ""
	w.until("the move comes to where it should: "+string(id), func() bool {
		var page api.MovesPage
		w.gate(http.MethodGet, "/moves?wait=1&after="+cursor, nil).into(w.t, http.StatusOK, &page)
		cursor = page.NextCursor
		for _, moved := range page.Items {
			if moved.ID != id {
				continue
			}
			m = moved
			switch {
			case m.Step == mfpgate.StepVerify && len(m.Probes) == 0:
				w.gate(http.MethodPost, "/moves/"+string(id)+"/probes", api.MoveAct{Probes: []mfpgate.NameProbe{{Name: "us.example", Host: "jp.example:443"}}}).into(w.t, http.StatusOK, nil)
			case m.Step == mfpgate.StepSwitch:
				w.gate(http.MethodPost, "/moves/"+string(id)+"/switch", api.MoveAct{Epoch: m.Epoch, Seen: mfpgate.Seen{gateway + "/route": 1}}).into(w.t, http.StatusOK, nil)
			}
		}
		return m.ID != "" && there(m)
	})
	return m
}

// publicKey is that of a region.
func publicKey(t *testing.T, r *servertest.Region) []ed25519.PublicKey {
	t.Helper()
	text, err := r.Folder.PublicKey()
	servertest.Must(t, err)
	key, err := jws.ParseKey(text)
	servertest.Must(t, err)
	return []ed25519.PublicKey{key}
}
