package mfp_test

import (
	"crypto/ed25519"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/internal/mfp"
)

const (
	checkIns    = "POST /v1/devices/mfp-1/check-ins"
	svcCheckIns = "POST /svc/v1/devices/mfp-1/check-ins"
	push        = "GET /v1/devices/mfp-1/push"
)

func TestRegistersOnceAndUsesBothRoles(t *testing.T) {
	jp := newRegion(t, "jp")
	s := resident(t, jp)
	s.options.State = filepath.Join(t.TempDir(), "mfp-1.json")
	s.options.DataEvery = time.Millisecond
	off := s.run(t)
	e := s.await(t, mfp.Registered)
	if e.Region != "jp" || e.Registration != "r1.jp.1.x.y" || e.Epoch != 1 || e.URL != jp.services.URL {
		t.Errorf("registered as %+v", e)
	}
	if e := s.await(t, mfp.Used); e.Region != "jp" || e.State != "active" || e.URL != jp.services.URL {
		t.Errorf("uses %+v", e)
	}
	until(t, "items of two classes", func() (got bool) {
		jp.set(func(r *region) {
			got = strings.Contains(r.items["address-book/item-0"], `"number":0`) && strings.Contains(r.items["job-log/item-0"], `"number":1`)
		})
		return got
	})
	off()
	off = s.run(t)
	before := jp.count(svcCheckIns)
	until(t, "check-ins after a restart", func() bool { return jp.count(checkIns) > 2 && jp.count(svcCheckIns) > before+1 })
	off()
	jp.set(func(r *region) {
		want := api.DeviceRegistration{Model: "SIM-100", Serial: "1", Name: device, Services: s.options.Services}
		if diff := cmp.Diff(want, r.registered); diff != "" || r.asked["POST "+api.DevicesPath] != 1 {
			t.Errorf("registered %d times; %s", r.asked["POST "+api.DevicesPath], diff)
		}
	})
}

func TestFollowsADirectiveWhenItsRegionIsAnother(t *testing.T) {
	jp, us := newRegion(t, "jp"), newRegion(t, "us")
	s := resident(t, jp)
	s.options.State = filepath.Join(t.TempDir(), "mfp-1.json")
	var kept string // at the time of the acknowledgement
	var ack api.DirectiveAck
	jp.acked = func(a api.DirectiveAck) int {
		data, _ := os.ReadFile(s.options.State)
		kept, ack = string(data), a
		return http.StatusNoContent
	}
	off := s.run(t)
	s.awaitAll(t, mfp.Used, mfp.PushOpened)
	jp.moves(us, 2)
	if e := s.await(t, mfp.Redirected); e.Region != "us" || e.Epoch != 2 || e.URL != us.services.URL {
		t.Errorf("redirected to %+v", e)
	}
	found := s.awaitAll(t, mfp.Used, mfp.PushOpened)
	if e := found[mfp.Used]; e.Region != "us" || e.Epoch != 2 {
		t.Errorf("uses %+v", e)
	}
	until(t, "the new region's management server", func() bool { return us.count(checkIns) > 1 && us.count(push) == 1 })
	after := jp.count(checkIns) + jp.count(svcCheckIns)
	until(t, "more check-ins", func() bool { return us.count(svcCheckIns) > 5 })
	if got := jp.count(checkIns) + jp.count(svcCheckIns); got != after {
		t.Errorf("%d check-ins at the old region after the move", got-after)
	}
	off()
	if !strings.Contains(kept, `"epoch":2`) || ack != (api.DirectiveAck{Move: "mov_2", Epoch: 2}) {
		t.Errorf("acknowledged %+v when it had stored %s", ack, kept)
	}
	defer s.run(t)()
	if e := s.await(t, mfp.Used); e.Region != "us" || e.Epoch != 2 || jp.count("POST "+api.DirectiveAckPath) != 1 || us.count("POST "+api.DevicesPath) != 0 {
		t.Errorf("after a restart it uses %+v; acknowledged %d times", e, jp.count("POST "+api.DirectiveAckPath))
	}
}

// TestIsSwitchedOffBeforeItAcknowledges has the old server not answer: the device goes by what it has stored, and tells when it can.
func TestIsSwitchedOffBeforeItAcknowledges(t *testing.T) {
	jp, us := newRegion(t, "jp"), newRegion(t, "us")
	s := resident(t, jp)
	s.options.State = filepath.Join(t.TempDir(), "mfp-1.json")
	jp.acked = func(api.DirectiveAck) int { return http.StatusServiceUnavailable }
	off := s.run(t)
	s.await(t, mfp.Used)
	jp.moves(us, 2)
	s.awaitAll(t, mfp.Redirected, mfp.AckPending)
	off()
	defer s.run(t)()
	s.await(t, mfp.Used)
	told := make(chan api.DirectiveAck, 1)
	jp.set(func(r *region) {
		r.acked = func(a api.DirectiveAck) int { told <- a; return http.StatusNoContent }
	})
	if got := <-told; got.Epoch != 2 {
		t.Errorf("acknowledged %+v", got)
	}
	until(t, "nothing is pending", func() bool {
		data, _ := os.ReadFile(s.options.State)
		return strings.Contains(string(data), `"epoch":2`) && !strings.Contains(string(data), "ackTo")
	})
}

func TestDirectivesThatItDoesNotTrust(t *testing.T) {
	jp, us := newRegion(t, "jp"), newRegion(t, "us")
	jp.set(func(r *region) { r.epoch, r.moved = 3, true })
	good := jp.leads(us, 4)
	with := func(change func(*mfpgate.Directive)) mfpgate.Directive { d := good; change(&d); return d }
	signed := func(key ed25519.PrivateKey, purpose string) string {
		text, err := jws.Sign(key, purpose, good)
		must(t, err)
		return text
	}
	s := resident(t, jp)
	defer s.run(t)()
	s.await(t, mfp.Moved)
	for _, c := range []struct {
		rule      string
		directive any
		says      string
	}{
		{"signed by another region", signed(us.key, api.PurposeDirective), "not signed by a key that is trusted"},
		{"signed for another purpose", signed(jp.key, api.PurposeRegions), "it is no directive"},
		{"of a lower epoch", with(func(d *mfpgate.Directive) { d.Epoch = 2 }), "its epoch is 2, and the device's 3"},
		{"of the present epoch", with(func(d *mfpgate.Directive) { d.Epoch, d.Move = 3, "mov_9" }), "its epoch is 3, and the device's 3"},
		{"for another device", with(func(d *mfpgate.Directive) { d.MFP = "mfp-2" }), `it is for "mfp-2"`},
		{"to nowhere", with(func(d *mfpgate.Directive) { d.Services = "ftp://x" }), "is no server's URL"},
		{"to a page of a server", with(func(d *mfpgate.Directive) { d.Management += "/x" }), "is no server's URL"},
		{"of no move", with(func(d *mfpgate.Directive) { d.Move = "" }), "names no move"},
	} {
		jp.set(func(r *region) { r.directive = c.directive })
		if e := s.await(t, mfp.DirectiveRefused); !strings.Contains(e.Text, c.says) {
			t.Errorf("%s: %q, want %q in it", c.rule, e.Text, c.says)
		}
	}
	if us.count(svcCheckIns)+jp.count("POST "+api.DirectiveAckPath) != 0 {
		t.Error("it went by one of them")
	}
	jp.set(func(r *region) { r.directive = good })
	s.await(t, mfp.Redirected)
}

func TestWaitsForTheTimeOfADirective(t *testing.T) {
	jp, us := newRegion(t, "jp"), newRegion(t, "us")
	s := resident(t, jp)
	s.options.DirectiveEvery = 2
	d := jp.leads(us, 2)
	d.NotBefore = s.options.Clock.Now().Add(1500 * time.Millisecond) // by then it has asked, on a busy machine too
	jp.directive = d
	defer s.run(t)()
	if e := s.await(t, mfp.Redirected); e.Time.Before(d.NotBefore) {
		t.Errorf("left at %s, before %s", e.Time, d.NotBefore)
	}
	if n := jp.count("GET " + api.DirectivePath); n != 2 {
		t.Errorf("asked %d times, want 2: at first and when the time had come", n)
	}
}

func TestAPinnedDeviceNeverAsks(t *testing.T) {
	jp, us := newRegion(t, "jp"), newRegion(t, "us")
	s := resident(t, jp)
	s.options.Pinned, s.options.DirectiveEvery = true, 1
	defer s.run(t)()
	s.await(t, mfp.Used)
	jp.moves(us, 2)
	if e := s.awaitAll(t, mfp.Moved, mfp.Waiting); e[mfp.Waiting].Status != http.StatusMisdirectedRequest || e[mfp.Moved].Reason != api.Moved {
		t.Errorf("got %+v", e)
	}
	until(t, "more check-ins", func() bool { return jp.count(svcCheckIns) > 5 })
	if jp.count("GET "+api.DirectivePath) != 0 || us.count(svcCheckIns) != 0 {
		t.Error("it asked, or went elsewhere")
	}
}

func TestARegionOfAnOlderVersionIsNoTrouble(t *testing.T) {
	jp := newRegion(t, "jp")
	jp.absent = true
	s := resident(t, jp)
	s.options.DirectiveEvery = 3
	defer s.run(t)()
	if e := s.awaitAll(t, mfp.NoRegion, mfp.CheckedIn); e[mfp.NoRegion].Status != http.StatusNotFound {
		t.Errorf("got %+v", e)
	}
	until(t, "check-ins", func() bool { return jp.count(checkIns) > 10 })
	if n := jp.count(svcCheckIns); n != 0 {
		t.Errorf("%d check-ins at services that there are not", n)
	}
	jp.set(func(r *region) { r.absent = false }) // it is updated
	for done := false; !done; {
		switch e := <-s.events; e.Kind {
		case mfp.Registered:
			done = true
		case mfp.PushOpened:
		default:
			t.Errorf("told of %s: %s", e.Kind, e.Text)
		}
	}
}

func TestDataWaitWhileTheDeviceIsMoved(t *testing.T) {
	jp := newRegion(t, "jp")
	s := resident(t, jp)
	s.options.DataEvery = time.Hour
	s.options.Jitter = func(time.Duration) time.Duration { return 0 }
	jp.draining = 1
	defer s.run(t)()
	found := s.awaitAll(t, mfp.Waiting, mfp.Stored)
	if w, stored := found[mfp.Waiting], found[mfp.Stored]; w.Reason != api.Draining || w.RetryMS != 1000 || stored.Item != "address-book/item-0" || stored.Time.Sub(w.Time) < time.Second {
		t.Errorf("waited %+v, stored %+v", w, stored)
	}
	if n := jp.count("PUT /svc/v1/devices/mfp-1/data/address-book/item-0"); n != 2 {
		t.Errorf("%d tries, want 2", n)
	}
}

func TestAsksWhenTheRelayKeepsItFromARegion(t *testing.T) {
	jp, us := newRegion(t, "jp"), newRegion(t, "us")
	s := resident(t, jp)
	f := newForwarder(t, func(host string) (string, int, mfpgate.Reason) {
		if "http://"+host == jp.services.URL && jp.count("moved") > 0 {
			return "", http.StatusForbidden, mfpgate.RegionMoved
		}
		return host, 0, ""
	})
	s.options.Proxy = f.url
	defer s.run(t)()
	s.await(t, mfp.Used)
	jp.set(func(r *region) { r.asked["moved"], r.directive = 1, r.leads(us, 2) })
	if e := s.await(t, mfp.Blocked); e.Reason != string(mfpgate.RegionMoved) || e.Status != http.StatusForbidden {
		t.Errorf("got %+v", e)
	}
	if e := s.await(t, mfp.Used); e.Region != "us" {
		t.Errorf("uses %+v", e)
	}
}

// TestAPlainPinnedDeviceIsLedElsewhere speaks http to hosts that only the relay knows, and does not notice which region answers.
func TestAPlainPinnedDeviceIsLedElsewhere(t *testing.T) {
	for _, redirects := range []bool{false, true} {
		t.Run(fmt.Sprintf("redirects %v", redirects), func(t *testing.T) {
			jp, us := newRegion(t, "jp"), newRegion(t, "us")
			s := resident(t, jp)
			host := func(u string) string { return strings.TrimPrefix(u, "http://") }
			f := newForwarder(t, func(asked string) (string, int, mfpgate.Reason) {
				switch {
				case asked == "m.jp.example":
					return host(jp.management.URL), 0, ""
				case asked != "s.jp.example":
					return asked, 0, ""
				case jp.count("moved") == 0:
					return host(jp.services.URL), 0, ""
				case redirects:
					return host(us.services.URL), http.StatusPermanentRedirect, ""
				}
				return host(us.services.URL), 0, ""
			})
			s.options.Cloud, s.options.ServicesURL = &url.URL{Scheme: "https", Host: "m.jp.example"}, &url.URL{Scheme: "https", Host: "s.jp.example"}
			s.options.Proxy, s.options.Plain, s.options.Pinned, s.options.Redirects = f.url, true, true, redirects
			s.options.DataEvery = time.Millisecond
			defer s.run(t)()
			if e := s.await(t, mfp.Used); e.Region != "jp" || e.URL != "http://s.jp.example" {
				t.Errorf("uses %+v", e)
			}
			jp.set(func(r *region) { r.asked["moved"] = 1 })
			if e := s.await(t, mfp.Used); e.Region != "us" || e.URL != "http://s.jp.example" {
				t.Errorf("uses %+v", e)
			}
			until(t, "data in the other region", func() (got bool) {
				us.set(func(r *region) { got = len(r.items) > 2 })
				return got
			})
			if n := us.count("POST " + api.DevicesPath); n != 0 {
				t.Errorf("registered %d times in the other region", n)
			}
		})
	}
}
