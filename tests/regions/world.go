package regions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Gateway and Operator are the accounts that every region has.
const (
	Gateway  = "osaka-1"
	Operator = "hana"
)

// Options say what a World is made of.
type Options struct {
	Dir     string          // of state; anybody may enter
	Cloud   string          // the program mfpcloud
	Network string          // "127.43": its .1.x is the first region's, .2.x the second's
	As      func(*exec.Cmd) // as whom programs run; nil: as the caller
	Log     func(region, line string)
	// CrossName has the first region's services show a certificate that has the name of the second's as well: then a device of the
	// second can be led there without noticing.
	CrossName bool
	Rollout   map[string][]string // flags of each `rollout add` by region; nil: document-cloud with translate in both, and with whiteboard in us
	Flags     []string            // more of `mfpcloud serve`
	Each      map[string][]string // the same for one region alone, by its name
	// Front stands before both roles of a region, where peers, gateways and devices reach it from then on. It is told the names that its
	// certificate has to have and where the management server and the services listen; it returns where it does, and the certificate.
	Front func(region string, names []string, management, services string) (at [2]string, certificate []byte, err error)
}

// World is two regions that are peers, jp and us.
type World struct {
	Options
	Names  *Names
	JP, US *Region
}

// Open makes both regions and starts them.
func Open(ctx context.Context, o Options) (w *World, err error) {
	if o.Log == nil {
		o.Log = func(string, string) {}
	}
	if o.Rollout == nil {
		o.Rollout = map[string][]string{"jp": {"document-cloud --child translate"}, "us": {"document-cloud --child translate --child whiteboard"}}
	}
	w = &World{Options: o}
	if w.Names, err = openNames(o.Network + ".0.1"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	w.JP, w.US = w.region("jp", 1), w.region("us", 2)
	if o.Front != nil {
		for _, r := range []*Region{w.JP, w.US} {
			if err := w.front(r); err != nil {
				return nil, err
			}
		}
	}
	for _, r := range []*Region{w.JP, w.US} {
		if err := r.prepare(ctx); err != nil {
			return nil, err
		}
	}
	// Devices that move between regions have one factory.
	if err := w.share(ctx, "factory.key"); err != nil {
		return nil, err
	}
	// Each makes its certificate at its first start.
	for _, r := range []*Region{w.JP, w.US} {
		if err := r.Start(ctx); err != nil {
			return nil, err
		}
	}
	for _, pair := range [][2]*Region{{w.JP, w.US}, {w.US, w.JP}} {
		invitation, err := pair[0].Local(ctx, "peer", "invite", pair[1].Name)
		if err != nil {
			return nil, err
		}
		if _, err := pair[1].local(ctx, invitation, "peer", "accept", "-", "--ca", pair[0].Trusted); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Close ends both.
func (w *World) Close() error {
	var all []error
	for _, r := range []*Region{w.JP, w.US} {
		if r != nil {
			all = append(all, r.Stop())
		}
	}
	w.Names.close()
	return errors.Join(all...)
}

func (w *World) region(name string, n int) *Region {
	base := fmt.Sprintf("%s.%d", w.Network, n)
	r := &Region{world: w, Name: name, State: filepath.Join(w.Dir, name), management: base + ".1:8443", services: base + ".2:8443",
		ManagementHost: "mgmt." + name + ".mfp.test:8443", ServicesHost: "svc." + name + ".mfp.test:8443"}
	r.URL, r.Certificate = "https://"+r.management, filepath.Join(r.State, "cert.pem")
	r.Reached, r.Trusted, r.front = r.URL, r.Certificate, r.services
	w.name(r, r.management, r.services)
	return r
}

// name has the names of a region's roles lead to addresses.
func (w *World) name(r *Region, management, services string) {
	for name, address := range map[string]string{r.ManagementHost: management, r.ServicesHost: services} {
		w.Names.Add(host(name), host(address))
	}
}

// front puts one before a region.
func (w *World) front(r *Region) error {
	at, certificate, err := w.Front(r.Name, []string{host(r.ManagementHost), host(r.ServicesHost)}, r.management, r.services)
	if err != nil {
		return fmt.Errorf("front of %s: %w", r.Name, err)
	}
	r.Reached, r.front, r.Trusted = "https://"+at[0], at[1], filepath.Join(w.Dir, r.Name+"-front.pem")
	w.name(r, at[0], at[1])
	return os.WriteFile(r.Trusted, certificate, 0o644)
}

func host(hostPort string) string {
	name, _, _ := strings.Cut(hostPort, ":")
	return name
}

// share gives the second region a file of the first.
func (w *World) share(ctx context.Context, file string) error {
	// A device's token makes the key if there is none.
	if _, err := w.JP.Local(ctx, "device", "token", "any"); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "cp", filepath.Join(w.JP.State, file), filepath.Join(w.US.State, file))
	w.as(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("share %s: %w: %s", file, err, out)
	}
	return nil
}

// keep writes a file for whom the programs run as, alone.
func (w *World) keep(ctx context.Context, path, text string) error {
	cmd := exec.CommandContext(ctx, "sh", "-c", `umask 077; cat > "$0"`, path)
	w.as(cmd)
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("write %s: %w: %s", path, err, out)
	}
	return nil
}

func (w *World) as(cmd *exec.Cmd) {
	if w.As != nil {
		w.As(cmd)
	}
}

// Trust is a file with the certificates of both.
func (w *World) Trust() (string, error) {
	var all bytes.Buffer
	for _, r := range []*Region{w.JP, w.US} {
		text, err := os.ReadFile(r.Trusted)
		if err != nil {
			return "", err
		}
		all.Write(text)
	}
	path := filepath.Join(w.Dir, "trust.pem")
	return path, os.WriteFile(path, all.Bytes(), 0o644)
}

// Allow are the lines of relay.allow that let devices reach both, also over plain HTTP.
func (w *World) Allow() string {
	return `  allow: [{host: "*.mfp.test", ports: [8443, 8080], private: true}]` + "\n"
}

// lines calls each with every whole line that is written to it.
type lines struct {
	each func(string)
	rest []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		l.each(strings.TrimSpace(string(line)))
		l.rest = rest
	}
}
