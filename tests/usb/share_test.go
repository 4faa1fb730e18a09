package usb_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/tests/lan"
	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/tests/rig"
	"github.com/mfpgate/mfpgate/tests/usb/model"
)

const (
	nobody      = 65534 // the gateway, under a root
	someoneElse = 1234
)

// curl asks as a user of this machine, and returns the status and the body.
func curl(t *testing.T, uid uint32, args ...string) (status, body string) {
	t.Helper()
	cmd := exec.Command(need.Program(t, "curl"), append([]string{"-sS", "--noproxy", "*", "-m", "20", "-w", "\n%{http_code}"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	i := strings.LastIndexByte(string(out), '\n') // an answer that comes before the question was sent is an answer
	if i < 0 {
		t.Fatalf("curl %s: %v: %s", args, err, out)
	}
	return string(out[i+1:]), string(out[:i])
}

// document is a file of so many bytes that anybody may read, and their digest.
func document(t *testing.T, size int) (path, digest string) {
	t.Helper()
	bytes := make([]byte, size)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(bytes) // it does not fail
	sum := sha256.Sum256(bytes)
	path = filepath.Join(rig.Dir(t), "document")
	if err := os.WriteFile(path, bytes, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	return path, hex.EncodeToString(sum[:])
}

// ipptool prints a document.
func ipptool(t *testing.T, address, path string, more ...string) {
	t.Helper()
	args := append(more, "-t", "-f", path, "ipp://"+address+"/ipp/print", "print-job.test")
	if out, err := exec.Command(need.Program(t, "ipptool"), args...).CombinedOutput(); err != nil {
		t.Errorf("ipptool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestSharing: who may print is what the configuration in force says, and so is whether there is USB at all.
func TestSharing(t *testing.T) {
	t.Parallel()
	need.Root(t) // two users
	b := newBus(t)
	p := model.NewPrinter("S1")
	b.plug(p, "1-1")
	b.plug(model.New(model.Options{Layout: model.Bidirectional, Serial: "S2", Model: "Other"}), "1-2")
	config := func(usb string) string {
		return "  allow: [{host: update.vendor.example, ports: [443]}]\nusb: " + usb + "\n"
	}
	g := rig.Start(t, config("{enabled: true}"), b.inside)
	d := comes(t, g, "the printer is driven", driven("1-1", mfpgate.USBModeIPP))
	raw := comes(t, g, "the other is driven", driven("1-2", mfpgate.USBModeRaw))
	if status, body := curl(t, someoneElse, d.USB.URL); status != "403" || !strings.Contains(body, "usb.share: off") {
		t.Errorf("with share off another user is told %s %s", status, body)
	}
	if status, _ := curl(t, nobody, d.USB.URL); status == "403" {
		t.Error("with share off the gateway's own user is refused")
	}

	g.Reload(t, config("{enabled: true, share: local}"))
	rig.Until(t, "other users are let in", func() bool { status, _ := curl(t, someoneElse, d.USB.URL); return status != "403" })
	path, digest := document(t, 20<<20)
	address := strings.TrimPrefix(d.USB.URL, "http://")
	ipptool(t, address, path)
	ipptool(t, address, path, "-c") // chunked
	got := p.IPP.Documents()
	if len(got) != 2 {
		t.Fatalf("the printer has %d documents", len(got))
	}
	for _, doc := range got {
		if doc.SHA256 != digest || doc.Bytes != 20<<20 || doc.Cut {
			t.Errorf("the printer has %+v, want the digest %s", doc, digest)
		}
	}
	if status, body := curl(t, someoneElse, "-H", "Host: rebound.example", d.USB.URL); status != "421" {
		t.Errorf("a page of another name is answered %s %s", status, body)
	}
	if status, body := curl(t, someoneElse, "-H", "Origin: http://evil.example", "-H", "Content-Type: application/ipp", "-d", "x", d.USB.URL+"/ipp/print"); status != "403" {
		t.Errorf("a form of another site is answered %s %s", status, body)
	}

	g.Reload(t, config("{enabled: false}"))
	for _, was := range []mfpgate.Device{d, raw} {
		off := comes(t, g, "it is off", func(d mfpgate.Device) bool { return d.ID == was.ID && d.State == mfpgate.DeviceOffline })
		if off.Reason != "usb-off" || off.USB != nil {
			t.Errorf("%+v, %+v", off, off.USB)
		}
	}
	asked := p.IPP.Asked()
	if answer, err := http.Post(d.USB.URL+"/ipp/print", "application/ipp", strings.NewReader("no IPP")); err == nil { // another gateway may have got the port
		_ = answer.Body.Close()
	}
	if now := p.IPP.Asked(); now != asked {
		t.Error("the printer is asked, though USB is off")
	}
	g.Reload(t, config("{enabled: true, share: off}"))
	if back := comes(t, g, "it is back", driven("1-1", mfpgate.USBModeIPP)); back.ID != d.ID || back.USB.Shared {
		t.Errorf("%+v, %+v", back, back.USB)
	}
	if back := comes(t, g, "the other is back", driven("1-2", mfpgate.USBModeRaw)); back.ID != raw.ID {
		t.Errorf("%+v, %+v", back, back.USB)
	}
}

// TestStopWhilePrinting: what a client is printing when the gateway is told to stop is printed, within relay.timeouts.drain.
func TestStopWhilePrinting(t *testing.T) {
	t.Parallel()
	need.Root(t) // two users
	b := newBus(t)
	p := model.NewPrinter("S1")
	b.plug(p, "1-1")
	g := rig.Start(t, "  allow: [{host: update.vendor.example, ports: [443]}]\n  timeouts: {drain: 25s}\nusb: {enabled: true, share: local}\n", b.inside)
	d := comes(t, g, "the printer is driven", driven("1-1", mfpgate.USBModeIPP))
	path, digest := document(t, 4<<20)
	for _, pair := range p.Pairs {
		pair.Out.Fail(model.Fault{Kind: model.Nak, After: 2 << 20})
	}
	printed := make(chan struct{})
	go func() { // below
		defer close(printed)
		ipptool(t, strings.TrimPrefix(d.USB.URL, "http://"), path)
	}()
	rig.Until(t, "the printer takes no more", func() bool {
		return slices.ContainsFunc(p.Pairs, func(pair model.Pair) bool { return pair.Out.Faults() == 0 })
	})
	g.Signal(t, syscall.SIGTERM)
	g.Log.Event(t, event.DaemonStopping)
	for _, pair := range p.Pairs {
		pair.Out.Resume()
	}
	rig.Wait(t, "the client is answered", printed)
	if code, stderr := g.Exit(t); code != 0 || stderr != "" {
		t.Errorf("the gateway exited with %d: %s", code, stderr)
	}
	if got := p.IPP.Documents(); len(got) != 1 || got[0].SHA256 != digest || got[0].Cut {
		t.Errorf("the printer has %+v, want the digest %s", got, digest)
	}
}

// TestSharingOnTheLAN: the relay's clients find the printer and print; another host is refused, and is not told of it.
func TestSharingOnTheLAN(t *testing.T) {
	t.Parallel()
	l := lan.New(t, 3)
	b := newBus(t)
	p := model.NewPrinter("S1")
	b.plug(p, "1-1")
	client, stranger := l.Host(1), l.Host(2)
	g := rig.Start(t, fmt.Sprintf("  listen: [\"%s:3128\"]\n  clients: [%s/32, %s/32]\n  allow: [{host: update.vendor.example, ports: [443]}]\nusb: {enabled: true, share: lan}\n",
		l.Gateway().V4, l.Gateway().V4, client.V4), b.inside, l.Gateway().Inside(t))
	d := comes(t, g, "the printer is driven and shared", func(d mfpgate.Device) bool { return driven("1-1", mfpgate.USBModeIPP)(d) && d.USB.Shared })
	at := fmt.Sprintf("%s:%s", l.Gateway().V4, d.USB.URL[strings.LastIndexByte(d.USB.URL, ':')+1:])
	path, digest := document(t, 1<<20)
	client.Output(t, need.Program(t, "ipptool"), "-t", "-f", path, "ipp://"+at+"/ipp/print", "print-job.test")
	if got := p.IPP.Documents(); len(got) != 1 || got[0].SHA256 != digest {
		t.Errorf("the printer has %+v, want the digest %s", got, digest)
	}
	resp, err := stranger.Client().Get("http://" + at + "/")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("a host that is no client of the relay is answered %s", resp.Status)
	}
	client.Avahi(t)
	rig.Until(t, "the client finds it", func() bool {
		out, _ := client.Try(t, "avahi-browse", "-rpt", "_ipp._tcp") // fails while its own name is probed for
		return strings.Contains(out, fmt.Sprintf(";%s;%s;", l.Gateway().V4, at[strings.LastIndexByte(at, ':')+1:]))
	})
	doctor := func(config string) string {
		out, _ := l.Gateway().Try(t, rig.Binary(t), "doctor", "--config", config, "--socket", g.Socket) // its code is of other things, too
		return out
	}
	if out := doctor(g.Config); !strings.Contains(out, "1-1 1209:0001") || strings.Contains(out, "nobody is told") {
		t.Errorf("the doctor says:\n%s", out)
	}
	text, err := os.ReadFile(g.Config)
	if err != nil {
		t.Fatal(err)
	}
	without := rig.WriteFile(t, g.Dir, "without.yaml", strings.ReplaceAll(string(text), l.Gateway().V4.String()+"/32, ", ""))
	if out := doctor(without); !strings.Contains(out, "nobody is told of the printers: relay.clients has none") || !strings.Contains(out, l.Gateway().V4.String()+"/") {
		t.Errorf("without its own address in relay.clients the doctor says:\n%s", out)
	}
}
