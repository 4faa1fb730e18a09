package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/mfpgate/mfpgate"
)

// site is what runs.
type site struct {
	base  string
	crowd time.Time // when more is planned than the relay can carry
	say   *sayer

	mu       sync.Mutex
	children []*child // in the order of their start
	end      chan error
}

type child struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
}

// start runs a program and hands each of its lines to hear.
func (s *site) start(name string, hear func(string), program string, args ...string) error {
	cmd := exec.Command(filepath.Join("bin", program), args...)
	// Ctrl-C reaches this program alone, which then stops the others in order.
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+filepath.Join(s.dir(regions[0].name), "cert.pem")) // the gateway's own cloud
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w; `make build` makes it", program, err)
	}
	c := &child{name: name, cmd: cmd, done: make(chan struct{})}
	s.mu.Lock()
	s.children = append(s.children, c)
	s.mu.Unlock()
	go func() { // ends with the program's output
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			hear(lines.Text())
		}
	}()
	go func() { // stop waits for it through done
		err := cmd.Wait()
		_ = w.Close()
		close(c.done)
		select {
		case s.ended() <- fmt.Errorf("%s %w: %v", name, errEnded, err):
		default:
		}
	}()
	return nil
}

// ended gets the first program that ends.
func (s *site) ended() chan error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end == nil {
		s.end = make(chan error, 1)
	}
	return s.end
}

// stop ends the programs, the last started first, each with time to finish.
func (s *site) stop() {
	for i := len(s.children) - 1; i >= 0; i-- {
		c := s.children[i]
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
		timer := mfpgate.SystemClock{}.NewTimer(15 * time.Second)
		select {
		case <-c.done:
		case <-timer.C():
			_ = c.cmd.Process.Kill()
			<-c.done
		}
		timer.Stop()
	}
}
