package devices_test

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/tests/lan"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// region is a real region, which the gateway reaches on its own host's loopback.
type region struct {
	*servertest.Region
	token mfpgate.Secret
	at    string
}

func startRegion(t *testing.T, h *lan.Host) *region {
	t.Helper()
	r := &region{Region: servertest.Start(t)}
	r.token = r.Gateway(t, "osaka-1")
	to, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport = r.HTTP(t).Transport
	l := h.Listen(t, "127.0.0.1:0")
	r.at = l.Addr().String()
	serve(t, l, proxy)
	return r
}

// serve answers HTTP until the test ends.
func serve(t *testing.T, l net.Listener, handler http.Handler) {
	t.Helper()
	server, served := &http.Server{Handler: handler, ReadHeaderTimeout: rig.Deadline}, make(chan struct{})
	go func() { // the cleanup waits for it
		defer close(served)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		rig.Wait(t, "nobody is served", served)
	})
}

func (r *region) config(t *testing.T) string {
	return "cloud: {url: \"http://" + r.at + "\", gateway_id: osaka-1, token: {file: " + rig.WriteFile(t, rig.Dir(t), "token", r.token.Reveal()) + "}}\n"
}

// get reads a resource of the gateway's in the region; found is false if there is none.
func get[T any](t *testing.T, r *region, path string) (out T, found bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.URL+"/v1/gateways/osaka-1/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.token.Reveal())
	resp, err := r.HTTP(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return out, false
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s", path, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out, true
}

// alerts counts the alerts of a device that the region has, of one code.
func (r *region) alerts(t *testing.T, id mfpgate.DeviceID, code string, cleared bool) (n int) {
	t.Helper()
	all, _ := get[api.Page[api.StoredAlert]](t, r, "alerts?limit=200")
	for _, a := range all.Items {
		if a.DeviceID == string(id) && a.Code == code && a.Cleared == cleared {
			n++
		}
	}
	return n
}

// What devices say of themselves comes to the cloud in mode polling: each change, and each condition's begin and end once.
func TestReportsReachTheCloud(t *testing.T) {
	t.Parallel() // it waits for the network most of the time
	l := lan.New(t, 3)
	cloud := startRegion(t, l.Gateway())
	printer := l.Host(1).Printer(t, copier)
	toner := mfpgate.Supply{Name: "Black Toner", Type: "toner", Color: "black", Unit: "percent", Level: 40, Max: 100}
	agent := l.Host(2).SNMP(t, lan.SNMPOptions{Make: "Ricoh", Model: "IM C3000", Serial: "3100R100", Impressions: 1000, Supplies: []mfpgate.Supply{toner}})
	s := startOn(t, l, relay+cloud.config(t)+devicesHead+polling+dnssd+snmp)
	one := s.await(t, "the copier is found", online("E52645", l.Host(1)))
	two := s.await(t, "the agent is found", online("IM C3000", l.Host(2)))

	reading := func(id mfpgate.DeviceID) api.DeviceReading {
		r, _ := get[api.DeviceReading](t, cloud, "devices/"+string(id)+"/reading")
		return r
	}
	level := func(id mfpgate.DeviceID, name string, want int64) func() bool {
		return func() bool {
			r := reading(id)
			for i := 0; r.Supplies != nil && i < len(r.Supplies.Items); i++ {
				if item := r.Supplies.Items[i]; item.Name == name {
					return item.Level == want
				}
			}
			return false
		}
	}
	counted := func(want int64) func() bool {
		return func() bool {
			r := reading(two.ID)
			return r.Counters != nil && len(r.Counters.Items) == 1 && r.Counters.Items[0] == api.Counter{Name: "impressions", Value: want}
		}
	}
	rig.Until(t, "the copier's supplies are known", level(one.ID, "Black Toner", 75))
	rig.Until(t, "the agent's supplies are known", level(two.ID, "Black Toner", 40))
	rig.Until(t, "the agent's counter is known", counted(1000))
	rig.Until(t, "the cloud lists both", func() bool {
		_, first := get[api.Device](t, cloud, "devices/"+string(one.ID))
		_, second := get[api.Device](t, cloud, "devices/"+string(two.ID))
		return first && second
	})

	const low, jam = "toner-low", "media-jam"
	printer.SetSupply(t, 1, 5)
	agent.Set(t, func(o *lan.SNMPOptions) { o.Errors[0], o.Impressions = 0x04, 1001 }) // jammed, bit 5 (RFC 2790)
	rig.Until(t, "the lower level arrives", level(one.ID, "Black Toner", 5))
	rig.Until(t, "its condition begins", func() bool { return cloud.alerts(t, one.ID, low, false) == 1 })
	rig.Until(t, "the jam begins", func() bool { return cloud.alerts(t, two.ID, jam, false) == 1 })
	rig.Until(t, "the counter arrives", counted(1001))

	printer.SetSupply(t, 1, 100)
	agent.Set(t, func(o *lan.SNMPOptions) { o.Errors[0], o.Impressions = 0, 7 })
	rig.Until(t, "the new cartridge arrives", level(one.ID, "Black Toner", 100))
	rig.Until(t, "its condition ends", func() bool { return cloud.alerts(t, one.ID, low, true) == 1 })
	rig.Until(t, "the jam ends", func() bool { return cloud.alerts(t, two.ID, jam, true) == 1 })
	rig.Until(t, "the smaller counter arrives", counted(7))
	rig.Until(t, "and is told apart from a number of pages", func() bool { return cloud.alerts(t, two.ID, "counter-reset", false) == 1 })

	l.Host(2).Unplug(t)
	rig.Until(t, "the cloud hears that the agent is away", func() bool {
		d, _ := get[api.Device](t, cloud, "devices/"+string(two.ID))
		return d.State == string(mfpgate.DeviceOffline) && cloud.alerts(t, two.ID, "offline", false) == 1
	})
	l.Host(2).Plug(t)
	rig.Until(t, "and that it is back", func() bool { return cloud.alerts(t, two.ID, "offline", true) == 1 })
	for _, id := range []mfpgate.DeviceID{one.ID, two.ID} {
		for _, code := range []string{low, jam} {
			if begun, ended := cloud.alerts(t, id, code, false), cloud.alerts(t, id, code, true); begun != ended || begun > 1 {
				t.Errorf("%s: %s began %d times and ended %d times", id, code, begun, ended)
			}
		}
	}
}
