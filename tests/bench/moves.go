package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/tests/regions"
)

// The devices that are moved in one batch, and how they live meanwhile.
const (
	movesNetwork  = "127.53"
	movesPoll     = 20 * time.Second // between two turns of a device
	movesAsked    = 16               // starts at once
	movesPatience = 8 * time.Minute  // for each phase
	movesClasses  = 2                // of data, that a simulated device stores
	movesPlain    = ":8080"
	oldServices   = "svc-old.us.mfp.test" // a name of us's services that jp's certificate has not
)

// herd is a process of mfpsim with devices of one kind.
type herd struct {
	kind  string
	share int // of 20
	flags []string

	count   int
	first   netip.Addr
	ippPort int
	cmd     *exec.Cmd
	read    chan struct{}

	mu     sync.Mutex
	events map[string]int
	counts map[string]int // what became of the requests
}

// herds are the kinds of devices: 17 of 20 go by directives.
func herds(w *regions.World) []*herd {
	cloud := "https://" + w.US.ManagementHost
	mgmt, _, _ := strings.Cut(w.US.ManagementHost, ":")
	svc, _, _ := strings.Cut(w.US.ServicesHost, ":")
	return []*herd{
		{kind: "directive", share: 17, flags: []string{"--cloud", cloud}},
		{kind: "plain", share: 1, flags: []string{"--pinned", "--plain", "--cloud", "http://" + mgmt + movesPlain, "--services-url", "http://" + svc + movesPlain}},
		{kind: "named", share: 1, flags: []string{"--pinned", "--cloud", cloud}},
		{kind: "unnamed", share: 1, flags: []string{"--pinned", "--cloud", cloud, "--services-url", "https://" + oldServices + ":8443"}},
	}
}

// moving measures one batch of moves while the devices keep working.
func moving(ctx context.Context, b *bench) ([]*series, error) {
	if err := b.build(ctx, "cmd/mfpcloud", "cmd/mfpsim", "tests/bench/relayhost"); err != nil {
		return nil, err
	}
	r, err := b.meadow(ctx)
	if err != nil {
		return nil, err
	}
	defer r.close()
	return r.measure(ctx)
}

// meadow is the regions, the gateway and the herds.
type meadow struct {
	*bench
	w       *regions.World
	fronts  []*http.Server
	herds   []*herd
	trust   string // file with both certificates
	gateway *peer
	api     *http.Client
	watched map[string]*peer
}

func asNobody(cmd *exec.Cmd) {
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
}

func (b *bench) meadow(ctx context.Context) (r *meadow, err error) {
	dir := filepath.Join(b.dir, "regions")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Chown(dir, nobody, nobody)); os.Geteuid() == 0 && err != nil {
		return nil, err
	}
	r = &meadow{bench: b}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	r.w, err = regions.Open(ctx, regions.Options{Dir: dir, Cloud: filepath.Join(b.dir, "mfpcloud"), Network: movesNetwork, As: asNobody, CrossName: true,
		Log: func(region, line string) { fmt.Fprintf(b.out, "  %s: %s\n", region, line) },
		Each: map[string][]string{"us": {"--service-host", "svc.us.mfp.test" + movesPlain, "--service-host", oldServices + ":8443", "--name", oldServices},
			"jp": {"--service-host", "svc.jp.mfp.test" + movesPlain}}})
	if err != nil {
		return r, err
	}
	// The contract's usual limit of devices at once would make the herds wait for one another, and the bench with them.
	if _, err := r.w.JP.Local(ctx, "contract", "set", regions.Gateway, "--max-concurrent", "0"); err != nil {
		return r, err
	}
	r.w.Names.Add(oldServices, movesNetwork+".2.2")
	for _, at := range []string{".1.2", ".2.2", ".2.1"} {
		if err := r.front(movesNetwork + at); err != nil {
			return r, err
		}
	}
	trust, err := r.w.Trust()
	if err != nil {
		return r, err
	}
	r.trust = trust
	r.herds = herds(r.w)
	var devices strings.Builder
	for n, h := range r.herds {
		h.count, h.ippPort, h.first = b.devices*h.share/20, 27510+n, mustAddr(fmt.Sprintf("%s.%d.1", movesNetwork, 16*(n+1)))
		for i, at := 0, h.first; i < h.count; i, at = i+1, at.Next() {
			fmt.Fprintf(&devices, "    - {name: %s-%d, address: %s, uri: \"ipp://%s:%d/ipp/print\", market: us}\n", h.kind, i+1, at, at, h.ippPort)
		}
	}
	p := &peer{name: "gateway"}
	for _, at := range []*string{&p.address, &p.metrics, &p.debug} {
		if *at, err = freeAddress(); err != nil {
			return r, err
		}
	}
	p.state = filepath.Join(dir, "gateway")
	mkdir := exec.CommandContext(ctx, "mkdir", p.state)
	asNobody(mkdir)
	if err := mkdir.Run(); err != nil {
		return r, err
	}
	config := fmt.Sprintf("site: {name: bench, region: jp}\nstate_dir: %s\nrelay:\n  listen: [%q]\n  clients: [127.0.0.0/8]\n  capacity: {devices: 20000}\n  dns_servers: [%q]\n%s",
		p.state, p.address, r.w.Names.Address, r.w.Allow()) +
		fmt.Sprintf("metrics: {listen: %q}\ncloud: {url: %q, gateway_id: %s, token: {file: %s}}\nregion: {policy: ask}\nportal: {listen: \"127.0.0.1:0\"}\ndevices:\n  monitoring: proxy\n  static:\n%s",
			p.metrics, r.w.JP.URL, regions.Gateway, r.w.JP.Token, devices.String())
	if err := os.WriteFile(p.state+".yaml", []byte(config), 0o644); err != nil {
		return r, err
	}
	how := program{path: filepath.Join(b.dir, "relayhost"), args: []string{"-config", p.state + ".yaml", "-debug", p.debug}, env: []string{"SSL_CERT_FILE=" + trust}}
	if err := b.start(ctx, p, how); err != nil {
		return r, err
	}
	for n, h := range r.herds {
		if err := r.release(h, trust, p.address, 28510+n); err != nil {
			return r, err
		}
	}
	r.gateway, r.api = p, control.Client(filepath.Join(p.state, "control.sock"))
	r.watched = map[string]*peer{"gateway": p}
	for name, at := range map[string]*regions.Region{"source": r.w.US, "target": r.w.JP} {
		process, err := os.FindProcess(at.PID())
		if err != nil {
			return r, err
		}
		r.watched[name] = &peer{name: name, cmd: &exec.Cmd{Process: process}}
	}
	return r, nil
}

func mustAddr(text string) netip.Addr { return netip.MustParseAddr(text) }

// front lets plain HTTP in to what listens with TLS alone, as a load balancer does.
func (r *meadow) front(at string) error {
	to := &url.URL{Scheme: "https", Host: at + ":8443"}
	proxy := httputil.NewSingleHostReverseProxy(to)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = insecure()
	transport.MaxIdleConnsPerHost = 64
	proxy.Transport = transport
	listener, err := listen(at + movesPlain)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: proxy, ReadHeaderTimeout: 10 * time.Second}
	r.fronts = append(r.fronts, s)
	go func() { _ = s.Serve(listener) }() // ends with close
	return nil
}

// release starts a herd.
func (r *meadow) release(h *herd, trust, relay string, snmpPort int) error {
	h.cmd = exec.Command(filepath.Join(r.dir, "mfpsim"), slices.Concat([]string{"fleet", "--count", fmt.Sprint(h.count), "--first", h.first.String(), "--prefix", h.kind + "-",
		"--serial-prefix", strings.ToUpper(h.kind), "--ca", trust, "--proxy", "http://" + relay, "--poll", movesPoll.String(), "--json", "--tally",
		"--factory-key", filepath.Join(r.w.US.State, "factory.key"), "--region-key", r.w.US.Key, "--service", "document-cloud=translate,whiteboard",
		"--data-every", movesPoll.String(), "--print", "--ipp-port", fmt.Sprint(h.ippPort), "--snmp-port", fmt.Sprint(snmpPort)}, h.flags)...)
	asNobody(h.cmd)
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	h.cmd.Stderr = r.out
	h.events, h.counts, h.read = map[string]int{}, map[string]int{}, make(chan struct{})
	if err := h.cmd.Start(); err != nil {
		return err
	}
	go h.listen(out) // ends with the process
	return nil
}

// kill ends a herd that runs.
func (h *herd) kill() {
	if h.cmd != nil && h.cmd.Process != nil && h.cmd.ProcessState == nil {
		_ = h.cmd.Process.Kill()
		<-h.read
		_ = h.cmd.Wait()
	}
}

func (r *meadow) close() {
	for _, h := range r.herds {
		h.kill()
	}
	if r.gateway != nil {
		r.gateway.stop()
	}
	for _, s := range r.fronts {
		_ = s.Close()
	}
	if r.w != nil {
		_ = r.w.Close()
	}
}

// all runs do for every device of the herds, some at once.
func (r *meadow) all(ctx context.Context, list []*head, do func(context.Context, *head) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(movesAsked)
	for _, d := range list {
		g.Go(func() error { return do(ctx, d) })
	}
	return g.Wait()
}

// until asks again and again until done says true.
func (r *meadow) until(ctx context.Context, what string, pause time.Duration, done func() (bool, error)) error {
	for began := r.clock.Now(); ; {
		if ok, err := done(); ok || err != nil {
			return err
		}
		if r.clock.Now().Sub(began) > movesPatience {
			return fmt.Errorf("not within %v: %s\n%s", movesPatience, what, r.gateway.tail())
		}
		if err := mfpgate.Wait(ctx, r.clock, pause); err != nil {
			return err
		}
	}
}
