package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/tests/port"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// pingPong keeps n tunnels moving until stop is closed, and fails the test if one is cut. Each is another device.
func pingPong(t *testing.T, g *rig.Gateway, target string, n int, stop <-chan struct{}) *sync.WaitGroup {
	t.Helper()
	var running sync.WaitGroup
	for i := range n {
		conn := g.Raw(t, "127.0.2."+string(rune('1'+i)))
		if resp, body := conn.Connect(target); resp.StatusCode != http.StatusOK {
			t.Fatalf("tunnel %d got %s %s", i, resp.Status, body)
		}
		running.Go(func() {
			for count := 0; ; count++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := conn.Write([]byte("ping")); err != nil {
					t.Errorf("tunnel %d is cut after %d turns: %v", i, count, err)
					return
				}
				got := make([]byte, 4)
				if _, err := conn.Read(got); err != nil {
					t.Errorf("tunnel %d is cut after %d turns: %v", i, count, err)
					return
				}
			}
		})
	}
	return &running
}

func TestAReloadUnderLoad(t *testing.T) {
	origin, other := rig.Listen(t, echo), rig.Listen(t, echo)
	g := rig.Start(t, rig.Allow(origin.Port)+"  capacity: {devices: 20}\n")
	stop := make(chan struct{})
	running := pingPong(t, g, origin.Address, 8, stop)
	id := g.Slots(t)[0].Device

	resp, body := g.Raw(t).Connect(other.Address)
	refused(t, resp, body, http.StatusForbidden, "destination-not-allowed")
	g.Reload(t, rig.Allow(other.Port)+"  capacity: {devices: 30}\n")
	if resp, body := g.Raw(t).Connect(other.Address); resp.StatusCode != http.StatusOK {
		t.Errorf("the destination of the new rules got %s %s", resp.Status, body)
	}
	resp, body = g.Raw(t).Connect(origin.Address)
	refused(t, resp, body, http.StatusForbidden, "destination-not-allowed")
	if s := g.Status(t).Relay; s.Capacity != 30 || s.Tunnels != 9 {
		t.Errorf("capacity %d, %d tunnels", s.Capacity, s.Tunnels)
	}

	t.Run("a bad file changes nothing and says so", func(t *testing.T) {
		before := g.Metric(t, "mfpgate_config_last_reload_success_timestamp_seconds")
		g.Configure(t, rig.Allow(origin.Port)+"  capacty: {devices: 1}\n")
		g.Signal(t, syscall.SIGHUP)
		e := g.Log.Event(t, event.ConfigRefused)
		if !strings.Contains(e.Str(field.Error), "mfpgate.yaml:") || !strings.Contains(e.Str(field.Error), "did you mean capacity?") {
			t.Errorf("event is %v", e)
		}
		status := g.Status(t)
		if !strings.Contains(status.Config.LastError, "did you mean capacity?") || status.Relay.Capacity != 30 || len(status.Degraded) != 1 {
			t.Errorf("status is %+v", status)
		}
		if g.Metric(t, "mfpgate_config_last_reload_success") != 0 || g.Metric(t, "mfpgate_config_last_reload_success_timestamp_seconds") != before {
			t.Error("the metric calls the reload good")
		}
		if resp, body := g.Raw(t).Connect(other.Address); resp.StatusCode != http.StatusOK {
			t.Errorf("the rules in force gave %s %s", resp.Status, body)
		}
	})
	t.Run("a key that needs a restart is named", func(t *testing.T) {
		g.Configure(t, rig.Allow(other.Port)+"  listen: [\"127.0.0.1:1\"]\n")
		g.Signal(t, syscall.SIGHUP)
		rig.Until(t, "the status names the key", func() bool { return strings.Contains(g.Status(t).Config.LastError, "relay.listen") })
	})
	t.Run("a good file ends the complaint", func(t *testing.T) {
		g.Reload(t, rig.Allow(origin.Port, other.Port)+"  capacity: {devices: 1}\n")
		if s := g.Status(t); s.Config.LastError != "" || len(s.Degraded) != 0 || g.Metric(t, "mfpgate_config_last_reload_success") != 1 {
			t.Errorf("status is %+v", s)
		}
	})
	// Nine devices hold one place now: none is cut, and each in turn moves on.
	if s := g.Status(t).Relay; s.Tunnels < 8 {
		t.Errorf("%d tunnels are left", s.Tunnels)
	}
	g.Reload(t, rig.Allow(origin.Port, other.Port)+"  capacity: {devices: 30}\n")
	close(stop)
	running.Wait()
	found := false
	for _, s := range g.Slots(t) {
		found = found || s.Device == id
	}
	if !found {
		t.Error("a device has changed its id")
	}
}

// Accounts are read anew, too: the file is named by the configuration and changes without it.
func TestAReloadReadsTheAccounts(t *testing.T) {
	origin := rig.Listen(t, echo)
	dir := rig.Dir(t)
	relay := accounts(t, dir, "copier", "x") + "  unknown_devices: refuse\n" + rig.Allow(origin.Port)
	g := rig.StartIn(t, dir, relay)
	resp, body := g.Raw(t).Connect(origin.Address, rightPassword)
	refused(t, resp, body, http.StatusProxyAuthRequired, "account-refused")
	accounts(t, dir, "printer", "right")
	g.Reload(t, relay)
	if resp, body := g.Raw(t).Connect(origin.Address, rightPassword); resp.StatusCode != http.StatusOK {
		t.Errorf("the new account got %s %s", resp.Status, body)
	}
}

func TestStops(t *testing.T) {
	origin := rig.Listen(t, echo)
	t.Run("a quiet tunnel does not hold the stop", func(t *testing.T) {
		g := rig.Start(t, rig.Allow(origin.Port)+"  timeouts: {drain: 10m}\n  capacity: {linger: 100ms}\n")
		conn := g.Raw(t)
		conn.Connect(origin.Address)
		conn.Send("x")
		conn.Expect("x")
		g.Stop(t)
		conn.ExpectEnd()
		g.Log.Event(t, event.RelayClosed, field.Outcome, "drained")
	})
	t.Run("moving tunnels are cut at the deadline", func(t *testing.T) {
		g := rig.Start(t, rig.Allow(origin.Port)+"  timeouts: {drain: 500ms}\n")
		conn := g.Raw(t)
		conn.Connect(origin.Address)
		go keepMoving(conn) // ends with the tunnel
		g.Stop(t)
		g.Log.Event(t, event.RelayClosed, field.Outcome, "drain-deadline")
		g.Log.Event(t, event.RelayDrained, field.Count, 1)
	})
	t.Run("the second signal cuts the drain", func(t *testing.T) {
		g := rig.Start(t, rig.Allow(origin.Port)+"  timeouts: {drain: 10m}\n")
		conn := g.Raw(t)
		conn.Connect(origin.Address)
		go keepMoving(conn) // ends with the tunnel
		idle, half := g.Raw(t), g.Raw(t)
		half.Send("CONNECT ")
		rig.Until(t, "the relay has all three", func() bool { return g.Status(t).Relay.Connections == 3 })
		g.Signal(t, syscall.SIGTERM)
		g.Log.Event(t, event.DaemonStopping)
		rig.Until(t, "nobody else gets in", func() bool {
			resp, err := http.Get("http://" + g.Address)
			if err == nil {
				_ = resp.Body.Close()
			}
			return err != nil
		})
		idle.ExpectEnd() // who waits for nothing is not waited for
		half.ExpectEnd()
		if s := g.Status(t); !s.Relay.Draining || s.Ready || s.Relay.Tunnels != 1 {
			t.Errorf("status is %+v", s.Relay)
		}
		g.Stop(t)
		g.Log.Event(t, event.RelayClosed, field.Outcome, "drain-deadline")
	})
	t.Run("a download is waited for", func(t *testing.T) {
		more := make(chan struct{})
		free := sync.OnceFunc(func() { close(more) })
		_, port := rig.HTTP(t, false, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "8")
			_, _ = w.Write([]byte("firm"))
			w.(http.Flusher).Flush()
			<-more
			_, _ = w.Write([]byte("ware"))
		})
		t.Cleanup(free) // before the origin's, which waits for its handler
		g := rig.Start(t, rig.Allow(port)+"  timeouts: {drain: 10m}\n")
		conn := g.Raw(t)
		conn.Send("GET http://127.0.0.1:" + port + "/ HTTP/1.1\r\nHost: x\r\n\r\n")
		conn.Expect("HTTP/1.1 200 OK\r\n")
		g.Signal(t, syscall.SIGTERM)
		g.Log.Event(t, event.DaemonStopping)
		free()
		rest, err := conn.Rest()
		if err != nil || !strings.HasSuffix(rest, "firmware") {
			t.Errorf("the download ended with %q, %v", rest, err)
		}
		if code, stderr := g.Exit(t); code != 0 || stderr != "" {
			t.Errorf("exit code %d, %s", code, stderr)
		}
	})
	t.Run("who waits for a place is told", func(t *testing.T) {
		g := rig.Start(t, rig.Allow(origin.Port)+"  timeouts: {drain: 300ms}\n  capacity: {devices: 1, linger: 10m, queue_timeout: 10m}\n")
		g.Raw(t).Connect(origin.Address)
		waits := g.Raw(t, "127.0.0.2")
		waits.Send(rig.ConnectRequest(origin.Address))
		rig.Until(t, "the second device waits", func() bool { return g.Status(t).Relay.Queued == 1 })
		g.Signal(t, syscall.SIGTERM)
		resp, body := waits.Answer("CONNECT")
		refused(t, resp, body, http.StatusServiceUnavailable, "stopping")
		if code, stderr := g.Exit(t); code != 0 || stderr != "" {
			t.Errorf("exit code %d, %s", code, stderr)
		}
	})
}

// keepMoving sends and reads until the connection ends.
func keepMoving(conn *rig.Conn) {
	b := make([]byte, 1)
	for {
		if _, err := conn.Write(b); err != nil {
			return
		}
		if _, err := conn.Read(b); err != nil {
			return
		}
	}
}

// What was recorded before a power cut is there after it.
func TestAKillLosesNoDevice(t *testing.T) {
	origin := rig.Listen(t, echo)
	dir := rig.Dir(t)
	relay := rig.Allow(origin.Port)
	g := rig.StartIn(t, dir, relay)
	type device struct{ DeviceID, Name string }
	list := func(g *rig.Gateway) map[string]string {
		var l struct{ Items []device }
		g.API(t, "devices", &l)
		ids := map[string]string{}
		for _, d := range l.Items {
			ids[d.Name] = d.DeviceID
		}
		return ids
	}
	stop := make(chan struct{})
	running := pingPong(t, g, origin.Address, 5, stop)
	rig.Until(t, "the devices are met", func() bool { return len(list(g)) == 5 })
	before := list(g)
	// What an administrator says is durable when the command returns, and all that was learnt before it: this gives a device
	// its own name back, which it has.
	if code, _, stderr := rig.Run(t, "devices", "rename", before["127.0.2.1"], "", "--socket", g.Socket); code != 0 {
		t.Fatal(stderr)
	}
	close(stop)
	running.Wait()
	g.Kill(t)

	// The state of a killed process is opened as it is: twice, for the first recovery must not spoil it.
	for range 2 {
		g = rig.StartIn(t, dir, relay)
		after := list(g)
		for name, id := range before {
			if after[name] != id {
				t.Errorf("%s was %s and is %q", name, id, after[name])
			}
		}
		if s := g.Status(t); s.Store.Recovered != "" {
			t.Errorf("the store was set aside: %s", s.Store.Recovered)
		}
		if resp, _ := g.Raw(t, "127.0.2.1").Connect(origin.Address); resp.StatusCode != http.StatusOK {
			t.Errorf("a tunnel got %s", resp.Status)
		}
		g.Kill(t)
	}
}

func TestABadConfigurationStartsNothing(t *testing.T) {
	dir := rig.Dir(t)
	address := port.Free(t, "127.0.0.1")
	for rule, relay := range map[string]string{
		"an unknown key":     "  listen: [\"" + address + "\"]\n  allow: [{host: a.example, ports: [443]}]\n  capacty: {devices: 1}\n",
		"damaged YAML":       "  listen: [\"" + address + "\"]\n  allow: [{host: a.example\n",
		"accounts not there": "  listen: [\"" + address + "\"]\n  allow: [{host: a.example, ports: [443]}]\n  accounts: {file: /nowhere}\n",
		"accounts with no hash": "  listen: [\"" + address + "\"]\n  allow: [{host: a.example, ports: [443]}]\n  accounts: {file: " +
			rig.WriteFile(t, dir, "bad.htpasswd", "printer:secret\n") + "}\n",
	} {
		t.Run(rule, func(t *testing.T) {
			g := rig.Launch(t, dir, relay)
			code, stderr := g.Exit(t)
			if code != 1 || stderr == "" || g.Log.Text() != "" {
				t.Errorf("exit code %d, standard error %q, log %q", code, stderr, g.Log.Text())
			}
			if _, err := os.Stat(filepath.Join(dir, "state")); !os.IsNotExist(err) {
				t.Errorf("the state directory: %v", err)
			}
		})
	}
	t.Run("a port that is taken", func(t *testing.T) {
		origin := rig.Listen(t, echo)
		g := rig.Launch(t, dir, "  listen: [\""+origin.Address+"\"]\n  allow: [{host: a.example, ports: [443]}]\n")
		if code, stderr := g.Exit(t); code != 1 || !strings.Contains(stderr, "relay.listen") {
			t.Errorf("exit code %d, standard error %q", code, stderr)
		}
	})
	t.Run("a second gateway on the same state", func(t *testing.T) {
		relay := "  allow: [{host: a.example, ports: [443]}]\n"
		first := rig.StartIn(t, dir, relay)
		second := rig.Launch(t, dir, relay)
		if code, stderr := second.Exit(t); code != 1 || stderr == "" {
			t.Errorf("exit code %d, standard error %q", code, stderr)
		}
		if !first.Status(t).Ready {
			t.Error("the first gateway is not ready any more")
		}
	})
}
