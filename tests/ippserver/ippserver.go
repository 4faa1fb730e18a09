package ippserver

import (
	"bytes"
	_ "embed"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/tests/peers"
	"github.com/mfpgate/mfpgate/tests/rig"
)

//go:embed libcups3/libcups3.c
var libcups3 []byte

// Server is a running ippserver, on a loopback address, without TLS.
type Server struct {
	Address string // host:port
	log     output
	done    chan struct{}
}

// System is the URI of its system service.
func (s *Server) System() string { return "ipp://" + s.Address + "/ipp/system" }

// Printer is the URI of its one infrastructure printer, which takes four output devices.
func (s *Server) Printer() string { return "ipp://" + s.Address + "/ipp/print/infra" }

// Log is what it has said.
func (s *Server) Log() string { return s.log.String() }

// Ended is closed when it has ended, by itself or not.
func (s *Server) Ended() <-chan struct{} { return s.done }

// Start runs an ippserver until the test ends. more are further lines of its system.conf.
func Start(t testing.TB, more ...string) *Server {
	t.Helper()
	need.That(t, runtime.GOARCH == "amd64", "the stand-in for libcups.so.3 is for x86-64")
	gcc := need.Program(t, "gcc")
	tree, err := tree()
	need.That(t, err == nil, fmt.Sprintf("ippserver cannot be unpacked (Debian 12 has it): %v; run `sudo apt-get update` with a network", err))
	library, err := library(gcc, tree)
	if err != nil {
		t.Fatal(err)
	}
	folders, err := peers.Libraries(tree)
	if err != nil {
		t.Fatal(err)
	}
	// The port may be taken by another between the choice and the start.
	for range 3 {
		if s := start(t, tree, append([]string{filepath.Dir(library)}, folders...), more); s != nil {
			return s
		}
	}
	t.Fatal("ippserver does not start")
	return nil
}

// start returns nil if the server ends at once.
func start(t testing.TB, tree string, libraries, more []string) *Server {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Address: free.Addr().String(), done: make(chan struct{})}
	free.Close()
	dir := t.TempDir()
	lines := []string{"Listen " + s.Address, "Encryption Never", "LogFile stderr", "LogLevel debug", "MaxJobs 0", "Name Test", "DefaultPrinter infra"}
	if !strings.Contains(strings.Join(more, "\n"), "Authentication ") {
		lines = append(lines, "Authentication No")
	}
	write(t, filepath.Join(dir, "system.conf"), append(lines, more...))
	// AuthProxyGroup without DeviceURI makes it an infrastructure printer.
	write(t, filepath.Join(dir, "print", "infra.conf"), []string{"AuthProxyGroup root", "MaxOutputDevices 4", "WebForms No", `Make "PWG"`, `Model "Infra"`})
	cmd := exec.Command(filepath.Join(tree, "root/usr/sbin/ippserver"), "-vvv", "--no-dns-sd", "-n", "127.0.0.1", "-C", dir)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LANG=C", "HOME=" + dir, "TMPDIR=" + dir, "LD_LIBRARY_PATH=" + strings.Join(libraries, ":")}
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // the cleanup waits for it
		_ = cmd.Wait()
		close(s.done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails where it has ended
		<-s.done
		if text := s.Log(); t.Failed() {
			t.Logf("ippserver said:\n%s", text[max(0, len(text)-4000):])
		}
	})
	ended := false
	rig.Until(t, "ippserver listens", func() bool {
		select {
		case <-s.done:
			ended = true
			return true
		default:
		}
		conn, err := net.Dial("tcp", s.Address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	if ended {
		t.Logf("ippserver ended: %s", s.Log())
		return nil
	}
	return s
}

func write(t testing.TB, path string, lines []string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tree spares each test of a machine without packages its own wait for apt-get.
var tree = sync.OnceValues(func() (string, error) { return peers.Tree("ippsample", "libcups2") })

// library builds the stand-in, once, beside the unpacked tree.
func library(gcc, tree string) (string, error) {
	dir := fmt.Sprintf("%s-libcups3-%08x", tree, crc32.ChecksumIEEE(libcups3)) // another source is another library
	at := filepath.Join(dir, "libcups.so.3")
	if _, err := os.Stat(at); err == nil {
		return at, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(dir, "build-") // test processes may build side by side: the last one's library stays
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	built := filepath.Join(work, "libcups.so.3")
	cmd := exec.Command(gcc, "-O1", "-g", "-fPIC", "-shared", "-Wl,-soname,libcups.so.3", "-o", built, "-x", "c", "-")
	cmd.Stdin = bytes.NewReader(libcups3)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build libcups3: %w\n%s", err, out)
	}
	return at, os.Rename(built, at)
}

// output collects what the server writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write is io.Writer's.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
