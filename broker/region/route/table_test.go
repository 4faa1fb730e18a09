package route_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region/route"
)

const (
	pass     = mfpgate.RoutePass
	forward  = mfpgate.RouteForward
	redirect = mfpgate.RouteRedirect
	blocked  = mfpgate.RouteBlock
)

// moved has devices 1 (a model that follows no redirects) and 2 (one that does) moved from us to jp; device 3 is at home in us, and of
// device 4 that is not known.
func moved(t *testing.T) *world {
	w := newWorld(t, 4)
	d := w.site.devices[device(2)]
	d.Model = "MX 3"
	w.site.devices[device(2)] = d
	w.cloud.residences = []mfpgate.Residence{{Device: device(3), Home: "us"}}
	for n := 1; n <= 2; n++ {
		m := move(n, device(n), 2)
		m.Step = mfpgate.StepVerify
		w.cloud.say(m)
	}
	w.start()
	w.pass(2 * time.Second)
	for n := 1; n <= 2; n++ {
		w.cloud.say(committed(move(n, device(n), 2)))
	}
	w.pass(10 * time.Second)
	return w
}

func TestRoute(t *testing.T) {
	type row struct {
		rule    string
		device  int
		host    string
		port    uint16
		connect bool
		want    mfpgate.Route
	}
	fresh := []row{
		{"the new region's services", 1, "svc.jp.example", 443, true, mfpgate.Route{Region: "jp", Epoch: 2}},
		{"the new region's management", 1, "mgmt.jp.example", 443, true, mfpgate.Route{Region: "jp", Epoch: 2}},
		{"a literal address of the new region", 1, "10.0.1.1", 443, true, mfpgate.Route{Region: "jp", Epoch: 2}},
		{"plain HTTP to the old services is led to the host of the same place", 1, "svc.us.example", 80, false, mfpgate.Route{Action: forward, To: "svc.jp.example:80", Region: "us", Epoch: 2}},
		{"a model that follows 308", 2, "svc.us.example", 80, false, mfpgate.Route{Action: redirect, To: "svc.jp.example:80", Region: "us", Epoch: 2}},
		{"CONNECT is led where the certificate has the name", 1, "svc.us.example", 443, true, mfpgate.Route{Action: forward, To: "svc.jp.example:443", Region: "us", Epoch: 2}},
		{"also for a model that follows 308", 2, "svc.us.example", 443, true, mfpgate.Route{Action: forward, To: "svc.jp.example:443", Region: "us", Epoch: 2}},
		{"CONNECT to a name that the certificate lacks", 1, "old.us.example", 443, true, mfpgate.Route{Action: blocked, Region: "us", Epoch: 2, Reason: mfpgate.RegionName}},
		{"without a host of the same place, the first", 1, "old.us.example", 443, false, mfpgate.Route{Action: forward, To: "svc.jp.example:443", Region: "us", Epoch: 2}},
		{"a listed address that the certificate lacks", 1, "10.0.2.1", 443, true, mfpgate.Route{Action: blocked, Region: "us", Epoch: 2, Reason: mfpgate.RegionName}},
		{"the old management is open at first", 1, "mgmt.us.example", 443, true, mfpgate.Route{Region: "us", Epoch: 2}},
		{"a third region's services", 1, "svc.de.example", 8443, true, mfpgate.Route{Action: blocked, Region: "de", Epoch: 2, Reason: mfpgate.RegionMoved}},
		{"a third region's management, in plain HTTP", 1, "mgmt.de.example", 80, false, mfpgate.Route{Action: blocked, Region: "de", Epoch: 2, Reason: mfpgate.RegionMoved}},
		{"CONNECT to another literal address", 1, "192.0.2.1", 443, true, mfpgate.Route{Action: blocked, Epoch: 2, Reason: mfpgate.RegionLiteral}},
		{"also of IPv6", 1, "2001:db8::1", 443, true, mfpgate.Route{Action: blocked, Epoch: 2, Reason: mfpgate.RegionLiteral}},
		{"another port of an old host than its region lists", 1, "ports.us.example", 8080, false, mfpgate.Route{Action: blocked, Region: "us", Epoch: 2, Reason: mfpgate.RegionMoved}},
		{"another port of a new host", 1, "ports.jp.example", 8080, false, mfpgate.Route{Epoch: 2}},
		{"plain HTTP to another literal address", 1, "192.0.2.1", 80, false, mfpgate.Route{Action: blocked, Epoch: 2, Reason: mfpgate.RegionLiteral}},
		{"an IPv4 address in the clothes of IPv6", 1, "[::ffff:10.0.2.1]", 443, false, mfpgate.Route{Action: blocked, Epoch: 2, Reason: mfpgate.RegionLiteral}},
		{"a name of no region", 1, "update.vendor.example", 443, true, mfpgate.Route{Epoch: 2}},
		{"a device at home there", 3, "svc.us.example", 443, true, mfpgate.Route{}},
		{"a device elsewhere than at home", 3, "svc.jp.example", 443, true, mfpgate.Route{Region: "jp"}},
		{"a device whose home is not known", 4, "svc.us.example", 443, true, mfpgate.Route{}},
		{"a literal address, of a device that is not managed", 3, "192.0.2.1", 443, true, mfpgate.Route{}},
	}
	later := []row{
		{"the old management, closed", 1, "mgmt.us.example", 443, true, mfpgate.Route{Action: blocked, Region: "us", Epoch: 2, Reason: mfpgate.RegionRedirected}},
		{"the old management, closed in plain HTTP", 1, "mgmt.us.example", 80, false, mfpgate.Route{Action: blocked, Region: "us", Epoch: 2, Reason: mfpgate.RegionRedirected}},
		{"the new region still", 1, "svc.jp.example", 443, true, mfpgate.Route{Region: "jp", Epoch: 2}},
	}
	check := func(w *world, rows []row) {
		t.Helper()
		for _, r := range rows {
			if diff := cmp.Diff(r.want, w.Route(device(r.device), host(t, r.host), r.port, r.connect)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", r.rule, diff)
			}
		}
	}
	t.Run("first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := moved(t)
			defer func() { w.stop() }()
			check(w, fresh)
			w.stop()
			w.open() // all is in force before anything runs
			check(w, fresh)
		})
	})
	t.Run("after 24 hours", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := moved(t)
			defer func() { w.stop() }()
			before := w.site.reroutes.Load()
			w.pass(route.ManagementOpen + time.Minute)
			check(w, later)
			if w.site.reroutes.Load() == before {
				t.Error("tunnels to the management hosts were not looked at when these closed")
			}
		})
	})
	t.Run("after the directive was acknowledged", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := moved(t)
			defer func() { w.stop() }()
			m := committed(move(1, device(1), 2))
			m.AckedAt, m.Step = time.Now(), mfpgate.StepConfirm
			w.cloud.say(m)
			w.pass(time.Second)
			check(w, later)
			if got := w.Route(device(2), host(t, "mgmt.us.example"), 443, true); got.Action != pass {
				t.Errorf("of the other device, which has not: %+v", got)
			}
		})
	})
	t.Run("enforce off", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := moved(t)
			defer func() { w.stop() }()
			w.policy.Enforce = false
			w.Reconfigure(w.policy)
			for _, h := range []string{"svc.us.example", "mgmt.us.example", "svc.de.example", "192.0.2.1"} {
				if got := w.Route(device(1), host(t, h), 443, true); got.Action != pass {
					t.Errorf("%s: %+v", h, got)
				}
			}
			if r := w.residence(1); r.Enforcement != mfpgate.EnforcedNone {
				t.Errorf("enforcement %q", r.Enforcement)
			}
		})
	})
	t.Run("one host for both roles, and none for a counterpart", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1)
			w.cloud.hosts = []mfpgate.RegionHosts{{Region: "jp", Management: []string{"jp.example"}}, {Region: "us", Management: []string{"us.example"}, Services: []string{"us.example"}}}
			w.cloud.say(committed(move(1, device(1), 2)))
			w.start()
			defer func() { w.stop() }()
			w.pass(5 * time.Second)
			check(w, []row{{"it is open at first, as a management host", 1, "us.example", 443, true, mfpgate.Route{Region: "us", Epoch: 2}}})
			w.pass(route.ManagementOpen)
			check(w, []row{{"then it is a service host, which nothing stands for", 1, "us.example", 443, true, mfpgate.Route{Action: blocked, Region: "us", Epoch: 2, Reason: mfpgate.RegionMoved}}})
			w.set(func(c *cloud) {
				c.hosts = []mfpgate.RegionHosts{{Region: "jp", Services: []string{"jp.example"}}, c.hosts[1]}
			})
			w.pass(route.HostsEvery)
			check(w, []row{
				{"a host for every port is led to the same port", 1, "us.example", 8080, false, mfpgate.Route{Action: forward, To: "jp.example:8080", Region: "us", Epoch: 2}},
				{"no host is led by CONNECT without a probe", 1, "us.example", 443, true, mfpgate.Route{Action: blocked, Region: "us", Epoch: 2, Reason: mfpgate.RegionName}},
			})
		})
	})
}

// many has so many devices that were moved.
func many(t testing.TB, count int) *world {
	w := newWorld(t, count)
	for n := 1; n <= count; n++ {
		m := move(n, device(n), 2)
		m.Probes = []mfpgate.NameProbe{{Name: "svc.us.example", Host: "svc.jp.example:443", Validated: true}}
		w.cloud.say(committed(m))
	}
	w.start()
	for range 5000 {
		w.cloud.mu.Lock()
		n := len(w.cloud.switched)
		w.cloud.mu.Unlock()
		if n == count {
			break
		}
		_ = mfpgate.Wait(t.Context(), mfpgate.SystemClock{}, 20*time.Millisecond)
	}
	w.stop()
	if n := len(w.cloud.switched); n != count {
		t.Fatalf("%d switches acknowledged", n)
	}
	return w
}

func TestRouteDoesNotAllocate(t *testing.T) {
	w := many(t, 100)
	us, jp, other := host(t, "svc.us.example"), host(t, "svc.jp.example"), host(t, "192.0.2.1")
	n := 0
	if got := testing.AllocsPerRun(1000, func() {
		n++
		d := device1000[n%100]
		if w.Route(d, us, 443, true).Action != forward || w.Route(d, us, 80, false).Action != forward || w.Route(d, jp, 443, true).Action != pass ||
			w.Route(d, other, 443, true).Action != blocked {
			t.Fatal("not as it was")
		}
		w.Reached(d, us, 443, 10)
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkRoute(b *testing.B) {
	w := many(b, 1000)
	us := host(b, "svc.us.example")
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for n := 0; pb.Next(); n++ {
			if w.Route(device1000[n%1000], us, 443, true).Action != forward {
				b.Error("not led")
				return
			}
		}
	})
}

var device1000 = func() (list [1000]mfpgate.DeviceID) {
	for n := range list {
		list[n] = device(n + 1)
	}
	return list
}()
