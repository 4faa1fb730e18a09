//go:build vm

package guest_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/mfpgate/mfpgate"
)

// bytesUnit is the service's unit with another program in it.
const bytesUnit = "mfpgate-bytes.service"

// startBytes starts the service of bytes. wait returns what became of the document.
func startBytes(t *testing.T, seed byte, size int64) (wait func() printed) {
	t.Helper()
	const out = "/run/bytes"
	_ = os.Remove(out)
	must(t, "cp", "/usr/lib/systemd/system/"+unit, "/etc/systemd/system/"+bytesUnit)
	dir := "/etc/systemd/system/" + bytesUnit + ".d"
	text := fmt.Sprintf("[Unit]\nWants=\nPartOf=\n[Service]\nType=exec\nWatchdogSec=0\nRestart=no\nExecReload=\nExecStart=\nExecStart=/job/checks %s %d %d\nEnvironment=%s=%s\nStandardOutput=file:%s\n",
		kernels(t, streamSerial).port, seed, size, part, printsRaw, out)
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(dir+"/test.conf", []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
	must(t, "systemctl", "daemon-reload")
	must(t, "systemctl", "start", bytesUnit)
	return func() printed {
		t.Helper()
		until(t, "the service of bytes ended", func() bool {
			state, _ := run(t, "systemctl", "is-active", bytesUnit)
			return state == "inactive" || state == "failed"
		})
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		p, err := parsed(text)
		if result := must(t, "systemctl", "show", "-P", "Result", bytesUnit); err != nil || result != "success" {
			t.Fatalf("the service of bytes: %s, %v", result, err)
		}
		return p
	}
}

// The documents have no end that a printer could see: to it they are one.
func (g *guest) testBytes(t *testing.T) {
	seeds := []byte{}
	prints := func(seed byte) {
		t.Helper()
		seeds = append(seeds, seed)
		if p := startBytes(t, seed, documentSize)(); p.Error != "" || p.Status.State != mfpgate.JobCompleted || p.Status.Sent != documentSize {
			t.Errorf("the job: got %+v, want it completed", p)
		}
		want := digest(documentSize, seeds...)
		if all := g.printers.stats(t, stream).RawJobs; len(all) != 1 || all[0].Bytes != int64(len(seeds))*documentSize || all[0].SHA256 != want {
			t.Errorf("the printer got %+v, want %d bytes, %s", all, len(seeds)*documentSize, want)
		}
		kernels(t, streamSerial).drivers("after the job", "usblp")
	}
	prints(10)
	g.scarce(t)
	prints(11)
}

func (g *guest) testBytesUnplugged(t *testing.T) {
	before := g.printers.stats(t, stream).RawBytes
	g.printers.do(t, "fault %d 01 unplug after=%d", stream, documentSize/2)
	p := startBytes(t, 12, documentSize)()
	took := g.printers.stats(t, stream).RawBytes - before
	if p.Status.State != mfpgate.JobAborted || p.Error == "" || p.Status.Sent == 0 || p.Status.Sent > took {
		t.Errorf("the job of a printer that was unplugged when it had %d bytes: got %+v, want it aborted", took, p)
	}
	t.Logf("unplugged after %d bytes: %+v", took, p)
	g.printers.do(t, "back %d", stream)
	kernels(t, streamSerial).drivers("plugged in again", "usblp")
}
