package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate/tests/bench/document"
	"github.com/mfpgate/mfpgate/tests/peers"
	"github.com/mfpgate/mfpgate/tests/usb/cmd/console"
	"github.com/mfpgate/mfpgate/tests/usb/mockbus"
)

// usbHost is a program that has a USB bus of its own with one printer, which is another process.
type usbHost struct {
	who     string // in the series
	url     string // of its printer's endpoint; "": it prints raw
	peer    *peer
	printer *usbPrinter
	doc     *document.Document
	digests map[int64]string // of the document's first bytes
	jobs    int              // printed over IPP
	last    string           // what the printer last said of itself
}

// usbPrinter is a mockusbd with one printer on port 1-1.
type usbPrinter struct {
	dir string
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// usbHosts starts the bare loop, the gateway with a raw printer and with one that speaks IPP over USB, and ipp-usb if it is to be had.
func (b *bench) usbHosts(ctx context.Context) (hosts []*usbHost, stop func(), err error) {
	stop = func() {
		for _, h := range hosts {
			h.stop()
		}
	}
	doc, digests := document.New(), map[int64]string{}
	for _, size := range []int64{rawJob, ippJob, sweepJob, largeJob, peerJob} {
		digests[size] = doc.SHA256(size)
	}
	for _, s := range []struct {
		name, who, layout string
		start             func(context.Context, *usbHost) error
	}{
		{"bare", "bare", "bidirectional", func(ctx context.Context, h *usbHost) error { return b.ownHost(ctx, h, "-bare") }},
		{"raw", ours, "bidirectional", func(ctx context.Context, h *usbHost) error { return b.ownHost(ctx, h) }},
		{"ipp", ours, "composite", func(ctx context.Context, h *usbHost) error { return b.ownHost(ctx, h) }},
		{"ipp-usb", "ipp-usb", "composite", b.ippUSB},
	} {
		h := &usbHost{who: s.who, doc: doc, digests: digests, peer: &peer{name: s.name}}
		if h.printer, err = b.plug(ctx, s.name, s.layout); err == nil {
			err = s.start(ctx, h)
		}
		switch {
		case err == nil:
			hosts = append(hosts, h)
		case s.who == "ipp-usb":
			h.stop()
			b.missing(s.name, err)
		default:
			h.stop()
			return hosts, stop, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return hosts, stop, nil
}

// plug starts a bus, open to all users, with one printer.
func (b *bench) plug(ctx context.Context, name, layout string) (*usbPrinter, error) {
	p := &usbPrinter{dir: filepath.Join(b.dir, "bus-"+name)}
	p.cmd = exec.CommandContext(ctx, filepath.Join(b.dir, "mockusbd"), "-dir", p.dir)
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := p.out.ReadString('\n'); err != nil { // ready
		p.stop()
		return nil, fmt.Errorf("mockusbd: %w", err)
	}
	if _, err := p.do("plug " + layout + " BENCH 1-1"); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// do has the printer's process carry out a command.
func (p *usbPrinter) do(command string) (answer string, err error) {
	if _, err := io.WriteString(p.in, command+"\n"); err != nil {
		return "", err
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("%s: %w", command, err)
	}
	answer, ok := strings.CutPrefix(strings.TrimSpace(line), "ok")
	if !ok {
		return "", fmt.Errorf("%s: %s", command, line)
	}
	return strings.TrimSpace(answer), nil
}

func (p *usbPrinter) stop() {
	_ = p.in.Close()
	_ = p.cmd.Wait() // it ends with its input
}

func (h *usbHost) stop() {
	if h.peer.cmd != nil && h.peer.cmd.Process != nil {
		h.peer.stop()
	}
	if h.printer != nil {
		h.printer.stop()
	}
}

// preload is the environment of a program that is to see the printer.
func (h *usbHost) preload() []string {
	return []string{"LD_PRELOAD=" + mockbus.Preload, "UMOCKDEV_DIR=" + h.printer.dir}
}

// ownHost starts usbhost.
func (b *bench) ownHost(ctx context.Context, h *usbHost, args ...string) (err error) {
	if h.peer.address, err = freeAddress(); err != nil {
		return err
	}
	how := program{path: filepath.Join(b.dir, "usbhost"), args: append(args, "-door", h.peer.address), env: h.preload()}
	if err := b.start(ctx, h.peer, how); err != nil {
		return err
	}
	driven, err := fetch(ctx, http.MethodGet, "http://"+h.peer.address+"/printer")
	_, h.url, _ = strings.Cut(driven, " ")
	return err
}

// ippUSB starts Debian's ipp-usb, unpacked and not installed, with a /var of its own. It logs errors alone, and does not publish.
func (b *bench) ippUSB(ctx context.Context, h *usbHost) error {
	tree, err := peers.Tree("ipp-usb")
	if err != nil {
		return err
	}
	libraries, err := peers.Libraries(tree)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(tree, "root/sbin/ipp-usb"))
	if errors.Is(err, fs.ErrNotExist) { // Debian 13 and later
		text, err = os.ReadFile(filepath.Join(tree, "root/usr/sbin/ipp-usb"))
	}
	if err != nil {
		return err
	}
	if h.peer.address, err = freeAddress(); err != nil {
		return err
	}
	at, err := netip.ParseAddrPort(h.peer.address)
	if err != nil {
		return err
	}
	h.url = "http://" + h.peer.address
	dir := filepath.Join(b.dir, "ippusb")
	// It looks for its configuration beside itself, and for everything else in /var.
	script := fmt.Sprintf("mount -t tmpfs none /var && mkdir -p /var/ipp-usb /var/log/ipp-usb || exit 1\nLD_LIBRARY_PATH='%s' %s exec '%s/ipp-usb' standalone\n",
		strings.Join(libraries, ":"), strings.Join(h.preload(), " "), dir)
	config := fmt.Sprintf("[network]\nhttp-min-port = %d\nhttp-max-port = %d\ndns-sd = disable\ninterface = loopback\nipv6 = disable\n[logging]\ndevice-log = error\nmain-log = error\nconsole-log = error\n", at.Port(), at.Port()+1)
	for _, err := range []error{os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "ipp-usb"), text, 0o755), //nolint:gosec // a program
		os.WriteFile(filepath.Join(dir, "ipp-usb.conf"), []byte(config), 0o644), os.WriteFile(filepath.Join(dir, "run"), []byte(script), 0o644)} {
		if err != nil {
			return err
		}
	}
	how := program{path: "unshare", args: []string{"--mount", "sh", filepath.Join(dir, "run")}, asRoot: true}
	if os.Geteuid() != 0 {
		how.args = append([]string{"--map-root-user"}, how.args...)
	}
	if how.path, err = exec.LookPath(how.path); err != nil {
		return err
	}
	return b.start(ctx, h.peer, how)
}

// printRaw prints the document's first bytes on a raw port; took is the host's own time. mark is called when document.Mark bytes are on
// their way.
func (b *bench) printRaw(ctx context.Context, h *usbHost, size int64, chunk int, mark func()) (figure, error) {
	return b.measured(ctx, h, size, func() (f figure, err error) {
		door := fmt.Sprintf("http://%s/print?%s", h.peer.address, url.Values{"size": {fmt.Sprint(size)}, "chunk": {fmt.Sprint(chunk)}}.Encode())
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, door, nil)
		if err != nil {
			return f, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return f, err
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			if lines.Text() == "mark" {
				if mark != nil {
					mark()
				}
				continue
			}
			done := strings.Fields(lines.Text())
			if len(done) != 3 || done[0] != "done" {
				return f, errors.New(lines.Text())
			}
			ns, err := strconv.ParseInt(done[2], 10, 64)
			f.took = time.Duration(ns)
			return f, err
		}
		return f, errors.Join(io.ErrUnexpectedEOF, lines.Err())
	}, func() (bool, error) {
		var err error
		if h.last, err = h.printer.do("stats 1-1"); err != nil {
			return false, err
		}
		var now console.Stats
		if err := json.Unmarshal([]byte(h.last), &now); err != nil || now.RawBytes < size {
			return false, err
		}
		if now.RawBytes != size || now.RawSHA256 != h.digests[size] {
			return false, fmt.Errorf("%s: the printer got %d bytes with digest %s, want %d with %s", h.peer.name, now.RawBytes, now.RawSHA256, size, h.digests[size])
		}
		_, err = h.printer.do("take 1-1")
		return true, err
	})
}

// printIPP prints the same by Print-Job at the host's HTTP endpoint, from this process.
func (b *bench) printIPP(ctx context.Context, h *usbHost, size int64, mark func()) (figure, error) {
	head, err := printJob()
	if err != nil {
		return figure{}, err
	}
	return b.measured(ctx, h, size, func() (f figure, err error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url+"/ipp/print", io.MultiReader(bytes.NewReader(head), h.doc.Reader(size, mark)))
		if err != nil {
			return f, err
		}
		req.Header.Set("Content-Type", "application/ipp")
		req.ContentLength = int64(len(head)) + size
		began := b.clock.Now()
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return f, err
		}
		defer resp.Body.Close()
		answer := &goipp.Message{}
		if err := answer.Decode(resp.Body); err != nil || resp.StatusCode != http.StatusOK || answer.Code != goipp.Code(goipp.StatusOk) {
			return f, fmt.Errorf("%s, %v: %w", resp.Status, answer.Code, err)
		}
		f.took = b.clock.Now().Sub(began)
		return f, nil
	}, func() (bool, error) {
		var err error
		if h.last, err = h.printer.do("stats 1-1"); err != nil {
			return false, err
		}
		var now console.Stats
		if err := json.Unmarshal([]byte(h.last), &now); err != nil || len(now.Documents) <= h.jobs {
			return false, err
		}
		h.jobs++
		if d := now.Documents[h.jobs-1]; d.Bytes != size || d.SHA256 != h.digests[size] || len(now.Documents) != h.jobs {
			return false, fmt.Errorf("%s: the printer got %+v, want %d bytes with digest %s", h.peer.name, now.Documents[h.jobs-1:], size, h.digests[size])
		}
		return true, nil
	})
}

func printJob() ([]byte, error) {
	m := goipp.NewRequest(goipp.MakeVersion(2, 0), goipp.OpPrintJob, 1)
	m.Operation.Add(goipp.MakeAttribute("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	m.Operation.Add(goipp.MakeAttribute("attributes-natural-language", goipp.TagLanguage, goipp.String("en")))
	m.Operation.Add(goipp.MakeAttribute("printer-uri", goipp.TagURI, goipp.String("ipp://localhost/ipp/print")))
	m.Operation.Add(goipp.MakeAttribute("requesting-user-name", goipp.TagName, goipp.String("bench")))
	m.Operation.Add(goipp.MakeAttribute("document-format", goipp.TagMimeType, goipp.String("application/octet-stream")))
	return m.EncodeBytes()
}
