package moves_test

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/telemetry/event"
)

// The devices of the site whose policy moves them.
const (
	led         = iota + 1 // pinned, and led by CONNECT: jp's certificate has us's name, too
	plain                  // pinned, and speaks plain HTTP
	nimble                 // the same, and of a model that follows 308
	nimbleModel = "SIM-200"
)

// thePolicyMovesDevices has a site at which nobody does anything, with devices that are never told.
func thePolicyMovesDevices(t *testing.T) {
	const plainPort = ":8080"
	asked := map[string]*hits{}
	s := open(t, options{network: "127.45", cross: true, devices: nimble, region: "{policy: automatic, follow_redirects: [" + nimbleModel + "]}",
		hosts: map[string][]string{"jp": {"--service-host", "svc.jp.mfp.test" + plainPort}, "us": {"--service-host", "svc.us.mfp.test" + plainPort}},
		begin: func(s *scene) {
			// The regions listen with TLS alone; what speaks plain HTTP reaches them through a front, as behind a load balancer.
			asked["us"], asked["jp"] = s.front(t, "us", plainPort), s.front(t, "jp", plainPort)
			s.front(t, "us management", plainPort)
			plainly := []string{"--pinned", "--plain", "--cloud", "http://mgmt.us.mfp.test" + plainPort, "--services-url", "http://svc.us.mfp.test" + plainPort}
			s.start(t, led, "--pinned")
			s.start(t, plain, plainly...)
			s.start(t, nimble, append(plainly, "--follow-redirects", "--model", nimbleModel)...)
		}})
	moves := map[string]mfpgate.Move{}
	eventually(t, "the policy has moved all of them, but for their check-ins", func() bool {
		var page struct{ Items []mfpgate.Move }
		if err := s.ctl(t, &page, "moves"); err != nil {
			t.Fatal(err)
		}
		done := 0
		for _, m := range page.Items {
			moves[m.MFP] = m
			if m.State.Committed() && !m.SwitchedAt.IsZero() && m.Receipt != nil {
				done++
			}
		}
		return done == nimble
	}, func() any { return moves })
	for _, m := range moves {
		if !strings.HasSuffix(m.RequestedBy, ": policy") {
			t.Errorf("%s was requested by %q", m.ID, m.RequestedBy)
		}
	}
	abreast(t, map[string]func(*testing.T){
		"by CONNECT, where the certificate has the old name": func(t *testing.T) {
			d := s.device(mfp(led))
			h := s.hand(t, d)
			// A tunnel to its old services is one to jp, which has a certificate for the name that the device asks for.
			status, text, err := h.call(t, h.client(t, true), http.MethodPost, "https://"+s.US.ServicesHost+api.ServiceDevices+"/"+d.id+"/check-ins", api.ServiceCheckIn{Epoch: 1})
			var brief api.HoldingBrief
			if err == nil {
				err = json.Unmarshal(text, &brief)
			}
			if err != nil || status != http.StatusOK || brief.Region != "jp" || brief.State != mfpgate.HoldingActive || brief.Epoch != 2 {
				t.Errorf("its check-in: %d %s %v", status, text, err)
			}
			// The device itself has a tunnel from before, and would use that for the grace; so it is switched off and on.
			d.stop(t)
			s.unnoticed(t, s.start(t, led, "--pinned"), "https://"+s.US.ServicesHost)
		},
		"in plain HTTP": func(t *testing.T) {
			s.unnoticed(t, s.device(mfp(plain)), "http://svc.us.mfp.test"+plainPort)
		},
		"in plain HTTP by 308": func(t *testing.T) {
			d := s.device(mfp(nimble))
			s.unnoticed(t, d, "http://svc.us.mfp.test"+plainPort)
			s.Log.Event(t, event.RelayServed, "device_name", name(nimble), "status", http.StatusPermanentRedirect)
		},
		"none is at the old services after the grace": func(t *testing.T) {
			var last time.Time
			for _, m := range moves {
				if m.SwitchedAt.After(last) {
					last = m.SwitchedAt
				}
			}
			eventually(t, "the grace is over", func() bool { return time.Since(last) > grace+late/2 }, func() any { return last })
			before := asked["us"].count()
			for range 20 {
				if n := s.toServices(t, "us"); n > 0 {
					t.Errorf("the gateway has %d connections to the services of us, %v after the last switch", n, time.Since(last))
					break
				}
			}
			if n := asked["us"].count(); n != before {
				t.Errorf("the old services were asked %d times in plain HTTP", n-before)
			}
			if asked["jp"].count() == 0 {
				t.Error("nothing came to jp in plain HTTP")
			}
		},
	})
	for _, m := range moves {
		if err := s.ctl(t, &m, "moves", "confirm-lost", string(m.ID)); err != nil {
			t.Fatal(err)
		}
		s.until(t, m.ID, mfpgate.MoveDone)
	}
	s.check(t, false)
}

// unnoticed wants a device to use jp at the address of us, and to store its data there.
func (s *scene) unnoticed(t *testing.T, d *device, at string) {
	t.Helper()
	used := -1
	eventually(t, "it uses jp at the address of us", func() bool {
		for i, e := range d.told() {
			if e["event"] == "used" && e["region"] == "jp" && e["state"] == "active" && e["url"] == at {
				used = i
			}
		}
		return used >= 0
	}, func() any { all := d.told(); return all[max(0, len(all)-10):] })
	eventually(t, "it stores its data there", func() bool {
		for _, e := range d.told()[used:] {
			if e["event"] == "stored" && e["url"] == at {
				return true
			}
		}
		return false
	}, func() any { return d.told()[used:] })
	if d.count("redirected") != 0 {
		t.Error("it was redirected")
	}
}

// hits are how often a front was asked.
type hits struct {
	mu sync.Mutex
	n  int
}

func (h *hits) count() int { h.mu.Lock(); defer h.mu.Unlock(); return h.n }

// front lets plain HTTP in to a region's services, or to its management server.
func (s *scene) front(t *testing.T, role, port string) *hits {
	t.Helper()
	region, management := strings.CutSuffix(role, " management")
	host, _, _ := net.SplitHostPort(s.host(region, management))
	l, err := net.Listen("tcp", host+port)
	if err != nil {
		t.Fatal(err)
	}
	h := &hits{}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "https", Host: s.host(region, management)})
	proxy.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots(t)}}
	proxy.ErrorLog = log.New(io.Discard, "", 0) // long polls break off at the end
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.n++
		h.mu.Unlock()
		proxy.ServeHTTP(w, r)
	}), ErrorLog: proxy.ErrorLog}
	go func() { _ = server.Serve(l) }() // ends with Close
	t.Cleanup(func() { _ = server.Close() })
	return h
}
