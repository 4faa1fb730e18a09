package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) {
	time.Local = time.FixedZone("JST", 9*3600)
	os.Exit(m.Run())
}

// command runs mfpgate against a gateway that stands still.
type command struct {
	t      *testing.T
	socket string
}

func commands(t *testing.T, g control.Gateway) command {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := control.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: control.Handler(g, "test"), ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }() // the clean-up waits for it
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return command{t, socket}
}

func (c command) run(args ...string) (code int, out, errs string) {
	c.t.Helper()
	var stdout, stderr bytes.Buffer
	p := &process{in: strings.NewReader(""), out: &stdout, err: &stderr, getenv: func(string) string { return "" }, clock: fakeclock.New(portaltest.Now)}
	code = p.run(c.t.Context(), append(args, "--socket", c.socket))
	return code, stdout.String(), stderr.String()
}

func (c command) good(args ...string) string {
	c.t.Helper()
	code, out, errs := c.run(args...)
	if code != done || errs != "" {
		c.t.Fatalf("%q: exit code %d\n%s", args, code, errs)
	}
	return out
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; run with -update if this is meant):\n%s", name, diff)
	}
}

func TestWhatDevicesPrints(t *testing.T) {
	g := portaltest.Fleet(9)
	g.DevicesAre[2].Name = "\x1b[2J\u202e" + g.DevicesAre[2].Name // a terminal must not obey it
	g.DevicesAre[6].Address = "fe80::226:73ff:fe12:3456%enp0s31f6"
	for i := range g.DevicesAre {
		g.DevicesAre[i].ID = mfpgate.DeviceID(fmt.Sprintf("dev_01JNDVX0Q5W1Y8ZK3R6T9B%04d", i+1))
	}
	c := commands(t, g)
	list := c.good("devices")
	golden(t, "devices.txt", list)
	for line := range strings.Lines(list) {
		if n := width(strings.TrimSuffix(line, "\n")); n > tableWidth {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if again := c.good("devices", "list"); again != list {
		t.Errorf("list differs:\n%s", again)
	}
	c = commands(t, portaltest.Fleet(9))
	golden(t, "show.txt", c.good("devices", "show", "2F copier"))
	golden(t, "show-hostile.txt", c.good("devices", "show", "dev_3"))
	for _, args := range [][]string{{"devices"}, {"devices", "show", "dev_3"}} {
		if text := c.good(args...); strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r == '\u202e' }) {
			t.Errorf("%q prints control characters:\n%q", args, text)
		}
	}
}

func TestWhatDevicesPrintsOfUSB(t *testing.T) {
	g := portaltest.Fleet(12)
	g.PlugIn(8)
	g.DevicesAre[0].USB = g.DevicesAre[8].USB // on the network, too
	c := commands(t, g)
	list := c.good("devices")
	golden(t, "devices-usb.txt", list)
	for line := range strings.Lines(list) {
		if n := width(strings.TrimSuffix(line, "\n")); n > tableWidth {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for i, file := range []string{"show-usb-ipp.txt", "show-usb-raw.txt", "show-usb-other.txt", "show-usb-unused.txt"} {
		golden(t, file, c.good("devices", "show", string(g.DevicesAre[8+i].ID)))
	}
	var found struct{ Items []mfpgate.Device }
	if err := json.Unmarshal([]byte(c.good("devices", "--json")), &found); err != nil || found.Items[9].USB == nil || found.Items[9].USB.Mode != mfpgate.USBModeRaw {
		t.Errorf("--json: %+v, %v", found.Items[9].USB, err)
	}
}

func TestDevicesAsCSV(t *testing.T) {
	g := portaltest.Idle()
	g.DevicesAre = []mfpgate.Device{{ID: "dev_1", Name: `=HYPERLINK("http://evil.example","2F, copier")`, Make: "+1", Model: "a\r\nb", Serial: "@SUM(1)", Address: "10.0.0.1"}}
	text := commands(t, g).good("devices", "--csv")
	if head, _, _ := strings.Cut(text, "\r\n"); head != "deviceId,name,make,model,serial,attachment,address,state,reason,since,monitoringMode,market,home,firmware,location,lastSeen" {
		t.Errorf("head %q", head)
	}
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	want := []string{"dev_1", `'=HYPERLINK("http://evil.example","2F, copier")`, "'+1", "a\nb", "'@SUM(1)"}
	if diff := cmp.Diff(want, rows[1][:5]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestDevicesAsJSON(t *testing.T) {
	c := commands(t, portaltest.Fleet(9))
	var list struct{ Items []mfpgate.Device }
	if err := json.Unmarshal([]byte(c.good("devices", "--json")), &list); err != nil || len(list.Items) != 9 {
		t.Errorf("%d devices, %v", len(list.Items), err)
	}
	var d control.DeviceDetail
	if err := json.Unmarshal([]byte(c.good("devices", "show", "dev_1", "--json")), &d); err != nil || d.ID != "dev_1" || len(d.Sightings) != 4 || d.Reading == nil {
		t.Errorf("%+v, %v", d, err)
	}
	if got := c.good("devices", "rename", "dev_1", "x", "--json"); got != `{"deviceId":"dev_1"}`+"\n" {
		t.Errorf("rename: %s", got)
	}
	if got := c.good("devices", "scan", "--json"); got != `{"sources":["dns-sd","snmp"],"addresses":254,"text":"254 addresses are asked; look again in a minute"}`+"\n" {
		t.Errorf("scan: %s", got)
	}
}

func TestDevicesAreChanged(t *testing.T) {
	g := portaltest.Fleet(9)
	c := commands(t, g)
	for _, step := range []struct {
		args []string
		says string
	}{
		{[]string{"rename", "2F copier", "Beside the lift"}, "2F copier is called Beside the lift now"},
		{[]string{"split", "Beside the lift", "snmp:10.1.0.9"}, "snmp:10.1.0.9 is the device dev_1_split now"},
		{[]string{"pin", "dev_1", "dev_1_split", "dev_2"}, "dev_1 and 2 more are one device now"},
		{[]string{"rename", "dev_1", ""}, "dev_1 has its own name again"},
		{[]string{"forget", "IM C4510"}, "IM C4510 is forgotten; it comes back when it is seen again"},
		{[]string{"scan"}, "254 addresses are asked; look again in a minute"},
	} {
		if got := c.good(append([]string{"devices"}, step.args...)...); got != step.says+"\n" {
			t.Errorf("%q says %q, want %q", step.args, got, step.says)
		}
	}
	if n := len(g.Devices(t.Context())); n != 7 {
		t.Errorf("%d devices are left, want 7", n)
	}
}

func TestADeviceIsNeverGuessed(t *testing.T) {
	g := portaltest.Fleet(9)
	g.DevicesAre[1].Name = "2F copier"
	c := commands(t, g)
	for _, test := range []struct {
		rule string
		args []string
		code int
		says string
	}{
		{"two of one name", []string{"forget", "2F copier"}, refused, "2 devices are called 2F copier; name one by its id:\n  dev_1  2F copier  Ricoh IM C4510 10.1.0.9\n  dev_2  2F copier"},
		{"the beginning of a name", []string{"show", "Recep"}, refused, "no device has the id or the name Recep; did you mean one of these?\n  dev_4  Reception"},
		{"a name of none", []string{"show", "nowhere"}, refused, "`mfpgate devices` lists them"},
		{"no name", []string{"show", ""}, refused, "name one by its id"},
		{"a device with itself", []string{"pin", "dev_1", "dev_1"}, usage, "name each device once"},
		{"a sighting that is not its", []string{"split", "dev_1", "snmp:10.9.9.9"}, refused, "no other sighting"},
	} {
		code, out, errs := c.run(append([]string{"devices"}, test.args...)...)
		if code != test.code || out != "" || !strings.Contains(errs, test.says) {
			t.Errorf("%s: exit code %d, want %d; %q\n%s", test.rule, code, test.code, out, errs)
		}
	}
	if n := len(g.Devices(t.Context())); n != 9 {
		t.Errorf("%d devices are left", n)
	}
}
