package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/proxy/devicename"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// accounts writes an htpasswd file: name and password in turn.
func accounts(t *testing.T, dir string, pairs ...string) (line string) {
	t.Helper()
	var text strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		hash, err := bcrypt.GenerateFromPassword([]byte(pairs[i+1]), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s:%s\n", pairs[i], hash)
	}
	return "  accounts: {file: " + rig.WriteFile(t, dir, "devices.htpasswd", text.String()) + "}\n"
}

// outer runs a gateway that knows the inner gateway "floor-2" by the key "signing-key".
func outer(t *testing.T, more string) *rig.Gateway {
	t.Helper()
	dir := rig.Dir(t)
	key := rig.WriteFile(t, dir, "floor-2.key", "signing-key")
	return rig.StartIn(t, dir, accounts(t, dir, "floor-2", "right", "printer", "right")+
		"  gateways: [{account: floor-2, key: {file: "+key+"}}]\n"+more)
}

// inner runs a gateway behind outer, which signs with key.
func inner(t *testing.T, outer *rig.Gateway, key, more string) *rig.Gateway {
	t.Helper()
	dir := rig.Dir(t)
	password, file := rig.WriteFile(t, dir, "password", "right\n"), rig.WriteFile(t, dir, "device.key", key)
	return rig.StartIn(t, dir, fmt.Sprintf("  upstream: {url: \"http://%s\", user: floor-2, password: {file: %s}, device_key: {file: %s}}\n",
		outer.Address, password, file)+more)
}

// Two places at the outer gateway are for two devices, not for two boxes; both count the same device once.
func TestTheOuterGatewayCountsTheDevicesOfTheInner(t *testing.T) {
	origin := rig.Listen(t, echo)
	_, port := rig.HTTP(t, false, hello)
	out := outer(t, rig.Allow(origin.Port, port)+"  capacity: {devices: 2, linger: 10m, queue_timeout: 10m}\n")
	in := inner(t, out, "signing-key", rig.Allow(origin.Port, port)+"  capacity: {devices: 50}\n")
	ids := map[string]bool{}
	for _, device := range []string{"127.0.0.1", "127.0.0.2"} {
		for range 2 { // more connections of a device take no more places
			conn := in.Raw(t, device)
			if resp, body := conn.Connect(origin.Address); resp.StatusCode != http.StatusOK {
				t.Fatalf("%s got %s %s", device, resp.Status, body)
			}
			conn.Send("x")
			conn.Expect("x")
		}
		conn := in.Raw(t, device)
		conn.Send("GET http://127.0.0.1:" + port + "/ HTTP/1.1\r\nHost: 127.0.0.1:" + port + "\r\n\r\n")
		if resp, body := conn.Answer("GET"); resp.StatusCode != http.StatusOK {
			t.Errorf("a plain request of %s got %s %s", device, resp.Status, body)
		}
	}
	third := in.Raw(t, "127.0.0.3")
	third.Send(rig.ConnectRequest(origin.Address))
	rig.Until(t, "the third device waits at the outer gateway", func() bool { return out.Status(t).Relay.Queued == 1 })
	var held []control.Slot
	for _, s := range out.Slots(t) {
		if s.State == "held" {
			held = append(held, s)
		}
		ids[string(s.Device)] = true
	}
	if len(held) != 2 || len(ids) != 3 {
		t.Errorf("the outer gateway serves %+v", out.Slots(t))
	}
	var known, inside struct{ Items []mfpgate.Device }
	out.API(t, "devices", &known)
	in.API(t, "devices", &inside)
	for _, d := range inside.Items {
		found := false
		for _, k := range known.Items {
			found = found || strings.Contains(k.Name, string(d.ID))
		}
		if !found {
			t.Errorf("the outer gateway lists no device with the inner's id %s: %+v", d.ID, known.Items)
		}
	}
	// A device that gives up inside frees its place outside.
	_ = third.Close()
	rig.Until(t, "nobody waits", func() bool { return out.Status(t).Relay.Queued == 0 && in.Status(t).Relay.Connections == 6 })
}

func TestAWrongKeyIsRefused(t *testing.T) {
	origin := rig.Listen(t, echo)
	_, port := rig.HTTP(t, false, hello)
	out := outer(t, rig.Allow(origin.Port, port))
	in := inner(t, out, "another-key", rig.Allow(origin.Port, port))
	for method, request := range map[string]string{
		"CONNECT": rig.ConnectRequest(origin.Address),
		"GET":     "GET http://127.0.0.1:" + port + "/ HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		conn := in.Raw(t)
		conn.Send(request)
		resp, body := conn.Answer(method)
		if resp.StatusCode == http.StatusOK {
			t.Errorf("%s got %s %s", method, resp.Status, body)
		}
		e := out.Log.Event(t, event.RelayRefused, field.Reason, "device-name-refused", field.Method, method)
		if e.Int(field.Status) != http.StatusForbidden {
			t.Errorf("event is %v", e)
		}
	}
	if out.Status(t).Relay.Served != 0 {
		t.Error("the outer gateway serves somebody")
	}
}

// Only an account that relay.gateways names may name devices; nobody else's word counts, and no origin sees it.
func TestAForgedDeviceNameIsIgnored(t *testing.T) {
	origin := rig.Listen(t, echo)
	plain, heads := say(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	out := outer(t, rig.Allow(origin.Port, plain.Port))
	victim := mfpgate.NewID(mfpgate.SystemClock{}, "dev")
	sign := func(key, account, method, authority string) string {
		return "Mfpgate-Device: " + devicename.Sign(mfpgate.SystemClock{}, mfpgate.Secret(key), account, method, authority, mfpgate.DeviceID(victim))
	}
	const printer, floor = "Proxy-Authorization: Basic cHJpbnRlcjpyaWdodA==", "Proxy-Authorization: Basic Zmxvb3ItMjpyaWdodA=="
	for _, c := range []struct {
		rule   string
		lines  []string
		status int
	}{
		{"without an account", []string{sign("signing-key", "floor-2", "CONNECT", origin.Address)}, 200},
		{"with a device's account", []string{printer, sign("signing-key", "printer", "CONNECT", origin.Address)}, 200},
		{"in the gateway's name but of a device's account", []string{printer, sign("signing-key", "floor-2", "CONNECT", origin.Address)}, 200},
		{"signed for another destination", []string{floor, sign("signing-key", "floor-2", "CONNECT", "127.0.0.9:443")}, 403},
		{"signed for another method", []string{floor, sign("signing-key", "floor-2", "GET", origin.Address)}, 403},
		{"not signed", []string{floor, "Mfpgate-Device: " + victim}, 403},
		{"empty", []string{floor, "Mfpgate-Device:"}, 403},
		{"good", []string{floor, sign("signing-key", "floor-2", "CONNECT", origin.Address)}, 200},
	} {
		t.Run(c.rule, func(t *testing.T) {
			conn := out.Raw(t)
			resp, body := conn.Connect(origin.Address, c.lines...)
			if resp.StatusCode != c.status {
				t.Errorf("got %s %s", resp.Status, body)
			}
			named := false
			for _, s := range out.Slots(t) {
				named = named || strings.Contains(s.Name, victim)
			}
			if named != (c.rule == "good") {
				t.Errorf("the forged device is served: %v; slots %+v", named, out.Slots(t))
			}
		})
	}
	conn := out.Raw(t)
	authority := plain.Address
	conn.Send("GET http://" + authority + "/ HTTP/1.1\r\nHost: " + authority + "\r\n" + floor + "\r\n" + sign("signing-key", "floor-2", "GET", authority) + "\r\n\r\n")
	if resp, body := conn.Answer("GET"); resp.StatusCode != http.StatusOK {
		t.Errorf("a signed plain request got %s %s", resp.Status, body)
	}
	if head := rig.Wait(t, "the origin has the request", heads); strings.Contains(head, "Mfpgate-Device") || strings.Contains(head, "Proxy-Auth") {
		t.Errorf("the origin got\n%s", head)
	}
}
