package daemon_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/tests/usb/membus"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// usbSite is a gateway with a USB of the test's.
type usbSite struct {
	*gateway
	t   *testing.T
	dir string
	bus *membus.Bus
}

// unclosed is a bus that outlives whoever opened it, as the machine's does.
type unclosed struct{ bus.Bus }

func (unclosed) Close() error { return nil }

const withUSB = "usb: {enabled: true}\n"

func newUSBSite(t *testing.T) *usbSite {
	s := &usbSite{t: t, dir: t.TempDir(), bus: membus.New()}
	s.start()
	return s
}

func (s *usbSite) start() {
	s.t.Helper()
	ports := []string{} // that printers get, unless other programs have so many
	for port := range 60 {
		ports = append(ports, strconv.Itoa(61000+port))
	}
	s.gateway = startWith(s.t, s.dir, strings.Join(ports, ", "), withUSB, func(o *daemon.Options) {
		o.USB = func() (bus.Bus, error) { return unclosed{s.bus}, nil }
	})
}

// reload puts another text of usb in force.
func (s *usbSite) reload(text string) {
	s.t.Helper()
	file := filepath.Join(s.dir, "mfpgate.yaml")
	old, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(old), "usb:")
	if err := os.WriteFile(file, []byte(head+text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.signals <- syscall.SIGHUP
}

// devices are those on USB, by where they are plugged in.
func (s *usbSite) devices() map[string]mfpgate.Device {
	s.t.Helper()
	client := control.Client(s.Control)
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://mfpgate/api/v1/devices")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var list struct{ Items []mfpgate.Device }
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		s.t.Fatal(err)
	}
	found := map[string]mfpgate.Device{}
	for _, d := range list.Items {
		found[d.Address] = d
	}
	return found
}

// until waits until the device at a port is in a state, which is its state, its reason and how it is driven, and returns it.
func (s *usbSite) until(port, state string) mfpgate.Device {
	s.t.Helper()
	last := ""
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		d, there := s.devices()["usb:"+port]
		last = fmt.Sprintf("%s %s", d.State, d.Reason)
		if d.USB != nil {
			last = fmt.Sprintf("%s %s", last, d.USB.Mode)
		}
		if last = strings.Join(strings.Fields(last), " "); there && last == state {
			return d
		}
	}
	s.t.Fatalf("the device at %s is %q, want %q", port, last, state)
	return mfpgate.Device{}
}

func TestPrintersOnUSBLiveInTheDaemon(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	defer http.DefaultClient.CloseIdleConnections()
	s := newUSBSite(t)
	modern := s.bus.Plug(model.New(model.Options{Layout: model.Pairs, Serial: "CN1"}).Device, "1-1")
	legacy := model.New(model.Options{Layout: model.Bidirectional, VID: 0x04b8, PID: 5})
	plugged := s.bus.Plug(legacy.Device, "1-2.4")

	first, second := s.until("1-1", "online ipp-usb"), s.until("1-2.4", "online raw")
	if first.Serial != "CN1" || first.Attachment != mfpgate.AttachmentUSB || first.MonitoringMode != mfpgate.MonitoringPolling || !strings.HasPrefix(first.USB.URL, "http://127.0.0.1:6") {
		t.Errorf("the first is %+v, %+v", first, first.USB)
	}
	if text := s.metrics(t, "/metrics"); !strings.Contains(text, `mfpgate_usb_printers{mode="ipp-usb"} 1`) || !strings.Contains(text, `mfpgate_usb_printers{mode="raw"} 1`) ||
		!strings.Contains(text, `mfpgate_devices{attachment="usb",state="online"} 2`) {
		t.Error("the metrics do not count them")
	}
	if resp, err := http.Get(first.USB.URL + "/"); err != nil {
		t.Errorf("its endpoint: %v", err)
	} else {
		_ = resp.Body.Close()
	}
	// The relay would be the gateway's own user there, and has a rule that allows the loopback at that port.
	through := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: s.Relay[0].String()})}}
	if resp, err := through.Get(first.USB.URL + "/"); err != nil {
		t.Errorf("its endpoint through the relay: %v", err)
	} else {
		_ = resp.Body.Close()
		if said := resp.Header.Get("Proxy-Status"); resp.StatusCode != http.StatusForbidden || !strings.Contains(said, `details="self"`) {
			t.Errorf("its endpoint through the relay: %s, %s", resp.Status, said)
		}
	}

	plugged.Unplug()
	if d := s.until("1-2.4", "offline unplugged"); d.ID != second.ID {
		t.Errorf("unplugged it is %s, it was %s", d.ID, second.ID)
	}
	plugged = s.bus.Plug(legacy.Device, "1-2.4")
	if d := s.until("1-2.4", "online raw"); d.ID != second.ID {
		t.Errorf("plugged in again it is %s, it was %s", d.ID, second.ID)
	}

	s.reload("usb: {enabled: false}\n")
	s.until("1-1", "offline usb-off")
	s.until("1-2.4", "offline usb-off")
	if n := modern.Claimed() + plugged.Claimed() + s.bus.Opens(); n != 0 {
		t.Errorf("switched off, %d interfaces and handles are not given back", n)
	}
	s.reload(withUSB)
	if d := s.until("1-1", "online ipp-usb"); d.ID != first.ID || d.USB.URL != first.USB.URL {
		t.Errorf("switched on again it is %s at %s, it was %s at %s", d.ID, d.USB.URL, first.ID, first.USB.URL)
	}
	s.until("1-2.4", "online raw")

	s.stop(t)
	if n := modern.Claimed() + plugged.Claimed() + s.bus.Opens(); n != 0 {
		t.Errorf("at its end, %d interfaces and handles are not given back", n)
	}
	modern.Unplug()
	s.start()
	if d := s.until("1-2.4", "online raw"); d.ID != second.ID {
		t.Errorf("after a restart it is %s, it was %s", d.ID, second.ID)
	}
	if d := s.until("1-1", "offline unplugged"); d.ID != first.ID {
		t.Errorf("after a restart the one that was unplugged meanwhile is %s, it was %s", d.ID, first.ID)
	}
	s.stop(t)
	plugged.Unplug()
}

func TestPrintersThatCannotBeDrivenDegrade(t *testing.T) {
	s := newUSBSite(t)
	denied := s.bus.Plug(model.New(model.Options{Layout: model.Bidirectional, Serial: "CN1"}).Device, "1-1")
	denied.Deny()
	held := s.bus.Plug(model.New(model.Options{Layout: model.Bidirectional, VID: 0x04b8, PID: 5}).Device, "1-2")
	for i := range 8 {
		held.Hold(i)
	}
	s.until("1-1", "offline usb-access unused")
	s.until("1-2", "offline usb-busy unused")
	degraded := func() string { return s.metrics(t, "/readyz") }
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end) && !(strings.Contains(degraded(), "usb-access: the gateway has no right to ") && strings.Contains(degraded(), "usb-busy: another program has ")); <-time.After(50 * time.Millisecond) {
	}
	if got := degraded(); !strings.Contains(got, "on USB port 1-1; `mfpgate doctor`") || !strings.Contains(got, "on USB port 1-2; `mfpgate doctor`") {
		t.Errorf("the degradations are %q", got)
	}
	s.reload("usb: {enabled: true, quirks: " + filepath.Join(s.dir, "quirks") + "}\n") // there is no such file
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end) && !strings.Contains(degraded(), "config-refused"); <-time.After(50 * time.Millisecond) {
	}
	if got := degraded(); !strings.Contains(got, "usb.quirks") {
		t.Errorf("a file of quirks that is not there: %q", got)
	}
	s.stop(t)
}
