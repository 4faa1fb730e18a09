package peer_test

import (
	"crypto/ed25519"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
	"github.com/mfpgate/mfpgate/cloud/client/peer"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

const mfp = "mfp-50"

var digest = strings.Repeat("ab", 32)

// region is another region: two servers that answer as told, and note what they were asked.
type region struct {
	*testing.T
	management, services *httptest.Server
	key                  ed25519.PrivateKey
	clock                *fakeclock.Clock
	answers              map[string]answer // by method and path with query
	asked                []string          // method, path, credential
	sent                 map[string]string // body, by method and path
}

type answer struct {
	status int
	header http.Header
	value  any
}

func newRegion(t *testing.T) *region {
	_, key, err := ed25519.GenerateKey(nil)
	must(t, err)
	r := &region{T: t, key: key, clock: fakeclock.New(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)), answers: map[string]answer{}, sent: map[string]string{}}
	serve := func(role string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			what := q.Method + " " + q.URL.RequestURI()
			body, _ := io.ReadAll(q.Body)
			r.sent[what] = string(body)
			r.asked = append(r.asked, role+": "+what+" as "+strings.TrimPrefix(q.Header.Get("Authorization"), "Bearer "))
			a, ok := r.answers[what]
			if !ok {
				a = refusal(http.StatusNotFound, "", "")
			}
			for name := range a.header {
				w.Header().Set(name, a.header.Get(name))
			}
			w.WriteHeader(max(a.status, 200))
			if text, ok := a.value.(string); ok {
				_, _ = io.WriteString(w, text)
				return
			}
			_ = json.NewEncoder(w).Encode(a.value)
		}))
		t.Cleanup(s.Close)
		return s
	}
	r.management, r.services = serve("management"), serve("services")
	return r
}

func refusal(status int, reason, detail string) answer {
	return answer{status: status, value: api.Problem{Type: api.ProblemType + reason, Title: http.StatusText(status), Detail: detail}}
}

func (r *region) open(change func(*peer.Options)) *peer.Peer {
	r.Helper()
	o := peer.Options{Region: "jp", ManagementURL: r.management.URL, ServicesURL: r.services.URL, ManagementToken: "us.management", ServicesToken: "us.services",
		Keys: []ed25519.PublicKey{r.key.Public().(ed25519.PublicKey)}, Clock: r.clock, Timeout: 10 * time.Second}
	if change != nil {
		change(&o)
	}
	p, err := peer.Open(o)
	must(r, err)
	r.Cleanup(p.Close)
	return p
}

// publishes has the management server sign where it and its services are.
func (r *region) publishes(hosts ...mfpgate.RegionHosts) {
	r.Helper()
	signed, err := jws.Sign(r.key, api.PurposeRegions, hosts)
	must(r, err)
	r.answers["GET "+api.RegionsPath] = answer{value: api.SignedRegions{Items: hosts, Signed: signed}}
}

func (r *region) receipt(change func(*mfpgate.DeletionReceipt)) *mfpgate.DeletionReceipt {
	r.Helper()
	out := mfpgate.DeletionReceipt{ID: "rcp_1", Region: "jp", MFP: mfp, Move: "mov_1", Purged: []mfpgate.HeldData{{Class: "jobs", Items: 2, Bytes: 9}}, Digest: digest,
		PurgedAt: r.clock.Now()}
	if change != nil {
		change(&out)
	}
	var err error
	out.Signed, err = jws.Sign(r.key, api.PurposeReceipt, out)
	must(r, err)
	return &out
}

func order(step mfpgate.MoveStep) mfpgate.MoveOrder {
	return mfpgate.MoveOrder{Move: "mov_1", Step: step, Epoch: 2, MFP: mfp, From: "jp", To: "us", Registration: "r1.us.2.x.y", Seen: mfpgate.Seen{"us/management": 3}}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
