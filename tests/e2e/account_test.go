package e2e_test

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/tests/rig"
)

const (
	rightPassword = "Proxy-Authorization: Basic cHJpbnRlcjpyaWdodA==" // printer:right
	wrongPassword = "Proxy-Authorization: Basic cHJpbnRlcjp3cm9uZw=="
)

func TestAccounts(t *testing.T) {
	origin := rig.Listen(t, echo)
	plain, heads := say(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	dir := rig.Dir(t)
	g := rig.StartIn(t, dir, accounts(t, dir, "printer", "right")+"  unknown_devices: refuse\n"+rig.Allow(origin.Port, plain.Port))
	get := "GET http://" + plain.Address + "/ HTTP/1.1\r\nHost: x\r\n"
	for _, c := range []struct {
		rule, line, reason string
		status             int
	}{
		{"without an account", "X: y", "account-required", 407},
		{"a wrong password", wrongPassword, "account-refused", 407},
		{"another scheme", "Proxy-Authorization: Bearer x", "account-refused", 407},
		{"damaged", "Proxy-Authorization: Basic !", "account-refused", 407},
		{"right", rightPassword, "", 200},
	} {
		t.Run(c.rule, func(t *testing.T) {
			for method, request := range map[string]string{"CONNECT": rig.ConnectRequest(origin.Address, c.line), "GET": get + c.line + "\r\n\r\n"} {
				conn := g.Raw(t)
				conn.Send(request)
				resp, body := conn.Answer(method)
				if c.status == http.StatusOK {
					if resp.StatusCode != http.StatusOK {
						t.Errorf("%s got %s %s", method, resp.Status, body)
					}
					continue
				}
				refused(t, resp, body, c.status, c.reason)
				if got := resp.Header.Get("Proxy-Authenticate"); got != `Basic realm="mfpgate", charset="UTF-8"` {
					t.Errorf("%s: the challenge is %q", method, got)
				}
				// The client answers the challenge on the same connection, as browsers and curl do.
				if method == "CONNECT" {
					if resp, _ := conn.Connect(origin.Address, rightPassword); resp.StatusCode != http.StatusOK {
						t.Errorf("the second try got %s", resp.Status)
					}
				}
			}
		})
	}
	if e := g.Log.Event(t, event.RelayServed); e.Str(field.DeviceName) != "printer" {
		t.Errorf("event is %v", e)
	}
	rig.Wait(t, "the origin has the request", heads)
}

// Who guesses is slowed down; who has proved the password before, behind the same address, is not.
func TestGuessingIsThrottled(t *testing.T) {
	origin := rig.Listen(t, echo)
	dir := rig.Dir(t)
	g := rig.StartIn(t, dir, accounts(t, dir, "printer", "right")+rig.Allow(origin.Port))
	if resp, _ := g.Raw(t).Connect(origin.Address, rightPassword); resp.StatusCode != http.StatusOK {
		t.Fatalf("the right password got %s", resp.Status)
	}
	conn := g.Raw(t)
	tries := 0
	for {
		resp, body := conn.Connect(origin.Address, wrongPassword)
		if resp.StatusCode == http.StatusTooManyRequests {
			refused(t, resp, body, http.StatusTooManyRequests, "account-throttled")
			if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || s < 1 || s > 60 {
				t.Errorf("Retry-After is %q", resp.Header.Get("Retry-After"))
			}
			break
		}
		refused(t, resp, body, http.StatusProxyAuthRequired, "account-refused")
		if tries++; tries > 20 {
			t.Fatal("20 wrong passwords in a row are not throttled")
		}
	}
	if tries < 5 {
		t.Errorf("throttled after %d tries", tries)
	}
	if resp, _ := g.Raw(t).Connect(origin.Address, rightPassword); resp.StatusCode != http.StatusOK {
		t.Errorf("the proved account got %s", resp.Status)
	}
	if resp, _ := g.Raw(t, "127.0.0.2").Connect(origin.Address, wrongPassword); resp.StatusCode != http.StatusProxyAuthRequired {
		t.Errorf("another address got %s", resp.Status)
	}
	if resp, _ := g.Raw(t).Connect(origin.Address); resp.StatusCode != http.StatusOK {
		t.Errorf("a device without an account got %s", resp.Status)
	}
}

func TestUnknownDevicesMayBeRefused(t *testing.T) {
	origin := rig.Listen(t, echo)
	const known = "devices: {static: [{address: 127.0.0.2, name: \"2F copier\"}]}\n"
	g := rig.Start(t, "  unknown_devices: refuse\n"+rig.Allow(origin.Port)+known)
	resp, body := g.Raw(t, "127.0.0.3").Connect(origin.Address)
	refused(t, resp, body, http.StatusForbidden, "device-unknown")
	e := g.Log.Event(t, event.RelayRefused, field.Reason, "device-unknown")
	if e.Str(field.Rule) != "relay.unknown_devices" {
		t.Errorf("event is %v", e)
	}
	conn := g.Raw(t, "127.0.0.2")
	if resp, body := conn.Connect(origin.Address); resp.StatusCode != http.StatusOK {
		t.Errorf("the known device got %s %s", resp.Status, body)
	}
	_ = conn.Close()
	if e := g.Log.Event(t, event.RelayClosed); e.Str(field.DeviceName) != "2F copier" {
		t.Errorf("event is %v", e)
	}
}
