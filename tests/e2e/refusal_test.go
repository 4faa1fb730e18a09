package e2e_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/tests/port"
	"github.com/mfpgate/mfpgate/tests/rig"
)

func TestTargetsThatAreRefused(t *testing.T) {
	origin := rig.Listen(t, echo)
	refusing := rig.Refusing(t)
	g := rig.Start(t, "  allow:\n"+
		"    - {host: 127.0.0.0/8, ports: ["+origin.Port+", "+refusing+"], private: true}\n"+
		"    - {host: 10.0.0.0/8, ports: [443]}\n"+
		"    - {host: localhost, ports: [443]}\n")
	for _, c := range []struct {
		rule, target, reason string
		status               int
	}{
		{"a port is required", "127.0.0.1", "bad-target", 400},
		{"a port is required after a name", "localhost", "bad-target", 400},
		{"a port is not empty", "127.0.0.1:", "bad-target", 400},
		{"port 0 is none", "127.0.0.1:0", "bad-target", 400},
		{"port 65536 is none", "127.0.0.1:65536", "bad-target", 400},
		{"a port is digits alone", "127.0.0.1:+80", "bad-target", 400},
		{"a port is no name", "127.0.0.1:https", "bad-target", 400},
		{"an IPv6 address stands in brackets", "::1:443", "bad-target", 400},
		{"a URI is no authority", "http://127.0.0.1:443/", "bad-target", 400},
		{"a host is required", ":443", "host-spelling", 403},
		{"an address is not decimal", "2130706433:" + origin.Port, "host-spelling", 403},
		{"an address is not octal", "0177.0.0.1:" + origin.Port, "host-spelling", 403},
		{"an address is not hexadecimal", "0x7f.0.0.1:" + origin.Port, "host-spelling", 403},
		{"an address is not one hexadecimal number", "0x7f000001:" + origin.Port, "host-spelling", 403},
		{"an address is not short", "127.1:" + origin.Port, "host-spelling", 403},
		{"a mapped address matches no rule of IPv4", "[::ffff:127.0.0.1]:" + origin.Port, "destination-not-allowed", 403},
		{"a mapped address in hexadecimal neither", "[::ffff:7f00:1]:" + origin.Port, "destination-not-allowed", 403},
		{"a destination needs a rule", "192.0.2.7:443", "destination-not-allowed", 403},
		{"a port needs a rule", "127.0.0.1:1", "destination-not-allowed", 403},
		{"a private address needs private: true", "10.1.2.3:443", "address-private", 403},
		{"a name with a private address needs private: true", "localhost:443", "address-loopback", 403},
		{"a destination that refuses", "127.0.0.1:" + refusing, "connection-refused", 502},
	} {
		t.Run(c.rule, func(t *testing.T) {
			conn := g.Raw(t)
			resp, body := conn.Connect(c.target)
			refused(t, resp, body, c.status, c.reason)
			if resp.Proto != "HTTP/1.1" {
				t.Errorf("answered as %s", resp.Proto)
			}
			// A refusal is an ordinary answer: the connection goes on.
			resp, _ = conn.Connect("127.0.0.1:" + origin.Port)
			if resp.StatusCode != http.StatusOK || resp.Status != "200 Connection established" {
				t.Errorf("the next CONNECT got %s", resp.Status)
			}
		})
	}
}

func TestARefusalIsOneEventThatNamesTheRule(t *testing.T) {
	g := rig.Start(t, "  allow: [{host: 10.0.0.0/8, ports: [443]}]\n")
	conn := g.Raw(t)
	conn.Connect("192.0.2.7:443")
	conn.Connect("10.1.2.3:443")
	e := g.Log.Event(t, event.RelayRefused, field.Reason, "destination-not-allowed")
	if e.Str(field.Rule) != "relay.allow" || e.Str(field.Destination) != "192.0.2.7:443" || e.Int(field.Status) != 403 {
		t.Errorf("event is %v", e)
	}
	e = g.Log.Event(t, event.RelayRefused, field.Reason, "address-private")
	if e.Str(field.Rule) != "10.0.0.0/8" || e.Str(field.Destination) != "10.1.2.3:443" {
		t.Errorf("event is %v", e)
	}
	if n := g.Log.Count(event.RelayRefused); n != 2 {
		t.Errorf("two refusals made %d events", n)
	}
	if n := g.Metric(t, `mfpgate_relay_refusals_total{reason="destination-not-allowed"}`); n != 1 {
		t.Errorf("the metric counts %v refusals", n)
	}
	var list struct {
		Items []struct{ Reason, Destination string }
	}
	g.API(t, "refusals", &list)
	if len(list.Items) != 2 || list.Items[0].Reason != "address-private" {
		t.Errorf("the API lists %v", list.Items)
	}
}

func TestTheRelayIsNoDestination(t *testing.T) {
	_, port, _ := net.SplitHostPort(port.Free(t, "127.0.0.1"))
	rig.Start(t, "  listen: [\"127.0.0.1:"+port+"\", \"[::1]:"+port+"\"]\n  allow:\n"+
		"    - {host: 127.0.0.0/8, ports: ["+port+"], private: true}\n"+
		"    - {host: 0.0.0.0/8, ports: ["+port+"], private: true}\n"+
		"    - {host: \"::/0\", ports: ["+port+"], private: true}\n"+
		"    - {host: localhost, ports: ["+port+"], private: true}\n")
	for _, target := range []string{"127.0.0.1:", "0.0.0.0:", "localhost:", "[::1]:", "[::]:", "[::ffff:127.0.0.1]:", "[::ffff:0.0.0.0]:",
		"[::ffff:7f00:1]:", "[::127.0.0.1]:", "[64:ff9b::7f00:1]:"} {
		resp, body := rig.Raw(t, "127.0.0.1:"+port).Connect(target + port)
		refused(t, resp, body, http.StatusForbidden, "self")
		if !strings.Contains(resp.Header.Get("Proxy-Status"), "error=proxy_loop_detected") {
			t.Errorf("%s: Proxy-Status is %q", target, resp.Header.Get("Proxy-Status"))
		}
	}
}

// What an origin's failure looks like must tell a device nothing of the network behind the relay.
func TestAFailedDialTellsNothing(t *testing.T) {
	refusing := rig.Refusing(t)
	deaf := rig.Deaf(t)
	g := rig.Start(t, rig.Allow(refusing, deaf.Port)+"  timeouts: {dial: 300ms}\n")
	for _, c := range []struct {
		request, method, reason string
		status                  int
	}{
		{rig.ConnectRequest("127.0.0.1:" + refusing), "CONNECT", "connection-refused", 502},
		{"GET http://127.0.0.1:" + refusing + "/ HTTP/1.1\r\nHost: x\r\n\r\n", "GET", "connection-refused", 502},
		{rig.ConnectRequest("127.0.0.1:" + deaf.Port), "CONNECT", "connection-timeout", 504},
		{"GET http://127.0.0.1:" + deaf.Port + "/ HTTP/1.1\r\nHost: x\r\n\r\n", "GET", "connection-timeout", 504},
	} {
		conn := g.Raw(t)
		conn.Send(c.request)
		resp, body := conn.Answer(c.method)
		refused(t, resp, body, c.status, c.reason)
		if body != c.reason+": The destination cannot be reached; try again.\n" {
			t.Errorf("%s: body is %q", c.method, body)
		}
		for name, values := range resp.Header {
			for _, v := range values {
				if strings.Contains(v, "dial tcp") || strings.Contains(v, "127.0.0.1") {
					t.Errorf("%s: %s: %s", c.method, name, v)
				}
			}
		}
	}
	if n := g.Metric(t, `mfpgate_relay_dial_errors_total{reason="connection-timeout"}`); n != 2 {
		t.Errorf("the metric counts %v timeouts", n)
	}
}

func TestStrangersAreToldNothingOfTheRules(t *testing.T) {
	origin := rig.Listen(t, echo)
	g := rig.Start(t, "  clients: [127.0.0.2]\n"+rig.Allow(origin.Port))
	for _, target := range []string{origin.Address, "192.0.2.7:443", "nonsense"} {
		resp, body := g.Raw(t).Connect(target)
		refused(t, resp, body, http.StatusForbidden, "client-not-allowed")
	}
	e := g.Log.Event(t, event.RelayRefused, field.Reason, "client-not-allowed")
	if e.Str(field.Rule) != "relay.clients" {
		t.Errorf("event is %v", e)
	}
	if resp, _ := g.Raw(t, "127.0.0.2").Connect(origin.Address); resp.StatusCode != http.StatusOK {
		t.Errorf("the allowed client got %s", resp.Status)
	}
}
