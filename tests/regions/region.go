package regions

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Region is the cloud of one country: a process of mfpcloud.
type Region struct {
	Name           string
	State          string // its folder
	URL            string // of the management server, by address
	Certificate    string // that its clients trust
	Reached        string // URL of the management server for peers and gateways: URL, or that of a front
	Trusted        string // certificates that those trust
	ManagementHost string // under which devices know it: host:port
	ServicesHost   string
	Token          string // file with the gateway's token
	Password       string // file with the operator's password
	Key            string // file with its public key, under which its directives are signed

	world                *World
	management, services string // addresses
	front                string // under which peers reach the services: services, or that of a front

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

// prepare makes what an operator makes before the first start.
func (r *Region) prepare(ctx context.Context) error {
	mkdir := exec.CommandContext(ctx, "mkdir", "-p", r.State)
	r.world.as(mkdir)
	if out, err := mkdir.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	for _, made := range []struct {
		file    *string
		name    string
		command []string
	}{
		{&r.Token, "gateway-token", []string{"gateway", "add", Gateway}},
		{&r.Password, "operator-password", []string{"operator", "add", Operator}},
		{&r.Key, "region-key", []string{"key"}},
	} {
		text, err := r.Local(ctx, made.command...)
		if err != nil {
			return err
		}
		*made.file = filepath.Join(r.world.Dir, r.Name+"-"+made.name)
		if err := r.world.keep(ctx, *made.file, text); err != nil {
			return err
		}
	}
	for _, add := range r.world.Rollout[r.Name] {
		if _, err := r.Local(ctx, append([]string{"rollout", "add"}, strings.Fields(add)...)...); err != nil {
			return err
		}
	}
	return nil
}

// Start runs it, anew after Kill or Stop, and waits until it serves.
func (r *Region) Start(ctx context.Context) error {
	other := r.world.US
	if r.Name == "us" {
		other = r.world.JP
	}
	args := []string{"serve", "--region", r.Name, "--listen", r.management, "--service-listen", r.services, "--state", r.State, "--log-level", "warn",
		"--name", host(r.ManagementHost), "--name", host(r.ServicesHost), "--name", host(r.management), "--name", host(r.services),
		"--management-host", r.ManagementHost, "--service-host", r.ServicesHost, "--peer", other.Name + "=" + other.Reached + ",https://" + other.front, "--poll-interval", "1s"}
	if r.world.CrossName && r.Name == "jp" {
		args = append(args, "--name", host(other.ServicesHost))
	}
	cmd := exec.Command(r.world.Cloud, slices.Concat(args, r.world.Flags, r.world.Each[r.Name])...)
	r.world.as(cmd)
	ready := make(chan struct{})
	said := sync.OnceFunc(func() { close(ready) })
	cmd.Stdout = &lines{each: func(line string) {
		if strings.Contains(line, "listens on") {
			said()
		}
	}}
	cmd.Stderr = &lines{each: func(line string) { r.world.Log(r.Name, line) }}
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { // Stop and Kill wait for it
		_ = cmd.Wait()
		close(done)
	}()
	r.mu.Lock()
	r.cmd, r.done = cmd, done
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	select {
	case <-ready:
		return nil
	case <-done:
		return fmt.Errorf("region %s ended: %v", r.Name, cmd.ProcessState)
	case <-ctx.Done():
		return fmt.Errorf("region %s does not serve: %w", r.Name, ctx.Err())
	}
}

// Kill ends it in the midst of what it does.
func (r *Region) Kill() { r.end(syscall.SIGKILL) }

// Stop ends it as systemd would. It is an error if it does not end well.
func (r *Region) Stop() error {
	state := r.end(syscall.SIGTERM)
	if state != nil && !state.Success() {
		return fmt.Errorf("region %s ended with %v", r.Name, state)
	}
	return nil
}

func (r *Region) end(s syscall.Signal) *os.ProcessState {
	r.mu.Lock()
	cmd, done := r.cmd, r.done
	r.cmd = nil
	r.mu.Unlock()
	if cmd == nil {
		return nil
	}
	_ = cmd.Process.Signal(s)
	<-done
	return cmd.ProcessState
}

// ServicesURL is where its services are, by address.
func (r *Region) ServicesURL() string { return "https://" + r.services }

// PID is that of its process.
func (r *Region) PID() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cmd.Process.Pid
}

// Local runs a command on its folder, and Remote one on the running region as its operator.
func (r *Region) Local(ctx context.Context, args ...string) (string, error) {
	return r.local(ctx, "", args...)
}

func (r *Region) local(ctx context.Context, stdin string, args ...string) (string, error) {
	return r.run(ctx, stdin, append(args, "--state", r.State)...)
}

// Remote is Local's counterpart.
func (r *Region) Remote(ctx context.Context, args ...string) (string, error) {
	return r.run(ctx, "", append(args, "--url", r.URL, "--operator", Operator, "--password-file", r.Password, "--ca", r.Certificate)...)
}

func (r *Region) run(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, r.world.Cloud, args...)
	r.world.as(cmd)
	cmd.Stdin = strings.NewReader(stdin)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("mfpcloud %s: %w: %s", strings.Join(args, " "), err, &complaint)
	}
	return out.String(), nil
}
