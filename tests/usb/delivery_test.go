package usb_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/tests/rig"
	"github.com/mfpgate/mfpgate/tests/usb/model"
)

// laserJet is a printer whose software is sent to it as a raw job: the table of quirks says so.
func laserJet(serial string) *model.Printer { return printer(serial, 0x03f0, 0x2b17) }

// unknown is one of which only a site may know that.
func unknown(serial string) *model.Printer { return printer(serial, 0x1209, 0x0001) }

const siteQuirk = "1209:0001\n    package-raw\n    reason this site has tried it\n"

func printer(serial string, vendor, product uint16) *model.Printer {
	return model.New(model.Options{Layout: model.Bidirectional, VID: vendor, PID: product, Make: "HP", Model: "LaserJet 1020", Serial: serial, CommandSet: "ACL", NoPJL: true})
}

// parcel is a package of the region.
type parcel struct {
	id, digest string
	size       int64
}

func (r *region) generate(t *testing.T, version string, size int) parcel {
	t.Helper()
	p := parcel{id: r.local(t, "package", "generate", "--model", "LaserJet 1020", "--version", version, "--size", fmt.Sprint(size)), size: int64(size)}
	text, err := os.ReadFile(r.content(p))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	p.digest = hex.EncodeToString(sum[:])
	return p
}

// content is where the region keeps a package's bytes.
func (r *region) content(p parcel) string { return filepath.Join(r.state, "packages", p.id+".bin") }

// plan plans a delivery for as soon as may be, and returns its id.
func (r *region) plan(t *testing.T, device mfpgate.DeviceID, p parcel) string {
	t.Helper()
	return r.remote(t, "delivery", "add", gateway, "--device", string(device), "--package", p.id, "--kind", "firmware", "--start", "+4s", "--window", "+0s/+1h",
		"--duration", "1m", "--allow-overload")
}

func (r *region) delivery(t *testing.T, id string) api.Delivery {
	t.Helper()
	var list api.Deliveries
	if err := json.Unmarshal([]byte(r.remote(t, "delivery", "list", gateway, "--all", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	for _, d := range list.Items {
		if d.DeliveryID == id {
			return d
		}
	}
	return api.Delivery{}
}

// ends waits until the region shows how a delivery ended: done, or failed for a reason.
func (r *region) ends(t *testing.T, id, want string) {
	t.Helper()
	var d api.Delivery
	rig.Until(t, "the delivery has ended as "+want, func() bool {
		d = r.delivery(t, id)
		return d.State == "done" || d.State == "failed"
	})
	if got := strings.TrimSpace(d.State + " " + d.Reason); got != want {
		t.Errorf("the delivery is %s, want %s", got, want)
	}
}

// took compares what a printer's raw port took since it was last asked with a package.
func took(t *testing.T, p *model.Printer, want parcel) {
	t.Helper()
	if n, digest := p.Raw.Take(); n != want.size || digest != want.digest {
		t.Errorf("the printer took %d bytes, %s; want %d, %s", n, digest, want.size, want.digest)
	}
}

// TestDeliveries: software that the region plans for printers on USB is fetched by the gateway and sent once, or is not sent at all.
func TestDeliveries(t *testing.T) {
	t.Parallel()
	b, r := newBus(t), startRegion(t)
	good, wrong, killed, stopped, pulled, other := laserJet("GOOD1"), laserJet("WRONG1"), laserJet("KILL1"), laserJet("STOP1"), laserJet("PULL1"), unknown("OTHER1")
	for i, p := range []*model.Printer{good, wrong, killed, stopped, pulled, other} {
		b.plug(p, fmt.Sprintf("1-%d", i+1))
	}
	const size = 3 << 20
	first, second, bad := r.generate(t, "1.0", size), r.generate(t, "2.0", size), r.generate(t, "3.0", size)
	spoil(t, r.content(bad))

	origin := rig.Listen(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	dir := rig.Dir(t)
	quirks := rig.WriteFile(t, dir, "quirks.txt", siteQuirk)
	config := func(capacity int, usb string) string {
		return rig.Allow(r.port(t), origin.Port) + fmt.Sprintf("  capacity: {devices: %d, queue_timeout: 20s, linger: 200ms}\n  timeouts: {drain: 20s}\n", capacity) +
			r.config() + "usb: {enabled: true" + usb + "}\ndevices: {polling: {status: 5s}}\n"
	}
	g := rig.StartIn(t, dir, config(10, ""), b.inside)
	id := map[string]mfpgate.DeviceID{}
	for i, serial := range []string{"GOOD1", "WRONG1", "KILL1", "STOP1", "PULL1", "OTHER1"} {
		d := comes(t, g, serial+" is driven", driven(fmt.Sprintf("1-%d", i+1), mfpgate.USBModeRaw))
		if d.Serial != serial {
			t.Fatalf("%+v", d)
		}
		id[serial] = d.ID
	}
	rig.Until(t, "the region knows the printers", func() bool { return len(r.devices(t)) == len(id) })

	killed.RawOut.Fail(model.Fault{Kind: model.Nak, After: size / 2})
	pulled.RawOut.Fail(model.Fault{Kind: model.Unplug, After: size / 2})
	done, refused, spoilt := r.plan(t, id["GOOD1"], first), r.plan(t, id["OTHER1"], first), r.plan(t, id["WRONG1"], bad)
	cut, lost := r.plan(t, id["KILL1"], first), r.plan(t, id["PULL1"], first)
	r.ends(t, done, "done")
	took(t, good, first)
	g.Log.Event(t, event.RelayServed, field.Device, id["GOOD1"], field.Destination, strings.TrimPrefix(r.url, "http://")) // by the relay
	r.ends(t, refused, "failed not-deliverable")
	r.ends(t, spoilt, "failed digest-mismatch")
	r.ends(t, lost, "failed aborted")
	for name, p := range map[string]*model.Printer{"that takes no packages": other, "whose package was spoilt": wrong} {
		if n := p.Raw.Bytes(); n != 0 {
			t.Errorf("the printer %s took %d bytes", name, n)
		}
	}

	// In the midst of sending, the gateway is killed.
	rig.Until(t, "half of the package is sent, and the printer takes no more", func() bool { return killed.RawOut.Faults() == 0 })
	g.Kill(t)
	killed.RawOut.Resume()
	_, _ = killed.Raw.Take()
	g = rig.StartIn(t, dir, config(10, ", quirks: "+quirks), b.inside)
	r.ends(t, cut, "failed interrupted")
	comes(t, g, "the printer is driven again", driven("1-3", mfpgate.USBModeRaw))

	// In the midst of sending, the gateway is told to stop.
	stopped.RawOut.Fail(model.Fault{Kind: model.Nak, After: size / 2})
	_, _ = stopped.Raw.Take()
	whole, allowed := r.plan(t, id["STOP1"], second), r.plan(t, id["OTHER1"], second)
	r.ends(t, allowed, "done") // by the site's own word now
	took(t, other, second)
	rig.Until(t, "half of the package is sent, and the printer takes no more", func() bool { return stopped.RawOut.Faults() == 0 })
	g.Signal(t, syscall.SIGTERM)
	g.Log.Event(t, event.DaemonStopping)
	stopped.RawOut.Resume()
	if code, stderr := g.Exit(t); code != 0 || stderr != "" {
		t.Errorf("the gateway exited with %d: %s", code, stderr)
	}
	took(t, stopped, second)

	// With room for one device, which is another, the package waits.
	g = rig.StartIn(t, dir, config(1, ", quirks: "+quirks), b.inside)
	r.ends(t, whole, "done")
	busy := g.Raw(t, "127.0.93.1")
	if resp, text := busy.Connect(origin.Address); resp.StatusCode != 200 {
		t.Fatalf("%s %s", resp.Status, text)
	}
	keep, kept := make(chan struct{}), make(chan struct{})
	go func() { // below
		defer close(kept)
		buf := make([]byte, 4)
		for {
			select {
			case <-keep:
				return
			default:
			}
			_, err := busy.Write([]byte("busy"))
			if err == nil {
				_, err = io.ReadFull(busy.TCPConn, buf)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	}()
	_, _ = good.Raw.Take()
	late := r.plan(t, id["GOOD1"], second)
	rig.Until(t, "the printer waits for its turn", func() bool {
		for _, s := range g.Slots(t) {
			if s.Device == id["GOOD1"] && s.State == "queued" {
				return true
			}
		}
		return false
	})
	if n := good.Raw.Bytes(); n != 0 {
		t.Errorf("%d bytes came without a slot", n)
	}
	close(keep)
	<-kept
	r.ends(t, late, "done")
	took(t, good, second)

	for serial, p := range map[string]*model.Printer{"KILL1": killed, "STOP1": stopped} {
		if n, _ := p.Raw.Take(); n != 0 {
			t.Errorf("%s took %d bytes more", serial, n)
		}
	}
	if n := g.Log.Count(event.DeliverySending, field.Device, id["KILL1"]); n != 0 {
		t.Errorf("the interrupted package was sent again %d times", n)
	}
}

// spoil changes a byte of a file and not its size.
func spoil(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Clone(text)
	text[len(text)/2] ^= 1
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
