package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/mailbox"
)

// Where things are. The ports are fixed, so that a bookmark of the portal stays good.
const (
	stateDir = "run"
	relay    = "127.0.0.1:13128"
	portal   = "127.0.0.1:18443"
	metrics  = "127.0.0.1:19631"
	gateway  = "demo-1"
	model    = "SIM-100"
)

// The people of the demonstration. The mail server is this program; letters lie in run/mail.
const (
	mailServer    = "127.0.0.1:18025"
	administrator = "it@example.jp"   // of the print service; the gateway has them approve
	user          = "sato@example.jp" // of the portal
	panel         = "127.0.0.1:18080" // of the one device that registers itself
)

// The devices answer as printers, each at its own address. The real ports would need root.
const (
	ippPort     = 16310
	snmpPort    = 10161
	jobsPerHour = 60
)

// region is one country's cloud: its management server, its services, what it offers, and how many of the devices were built for it.
type region struct {
	name, listen, services, offers, firstDevice string
	devices                                     int
}

var regions = []region{
	{"jp", "127.0.0.1:18441", "127.0.0.1:18451", "--child translate", "127.0.1.1", 6},
	{"us", "127.0.0.1:18442", "127.0.0.1:18452", "--child translate --child whiteboard", "127.0.1.7", 2},
}

// cloudService is what every device uses.
const cloudService = "document-cloud"

// A new version comes often enough that there is something to see, and seldom enough that the disk does not fill: so many
// versions of so many bytes, then no more.
const (
	packageSize  = "6MB"
	newVersion   = 90 * time.Second
	lastVersions = 40
)

func run(ctx context.Context, out io.Writer) error {
	if err := portsFree(); err != nil {
		return err
	}
	base, err := filepath.Abs(stateDir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(base, 0o700); err != nil {
		return err
	}
	s := &site{base: base, say: newSayer(out), crowd: mfpgate.SystemClock{}.Now().UTC().Truncate(time.Minute).Add(crowdAhead)}
	defer s.stop()
	token, err := s.made(ctx, "gateway-token", "gateway", "add", gateway)
	if err != nil {
		return err
	}
	operator, err := s.made(ctx, "operator-password", "operator", "add", "operator")
	if err != nil {
		return err
	}
	approver, err := s.made(ctx, "print-password", "administrator", "add", administrator)
	if err != nil {
		return err
	}
	if err := s.do(ctx, "", "mfpcloud", "contract", "set", gateway, "--state", s.dir(regions[0].name), "--time-zone", "Asia/Tokyo", "--lead-time", "1m", "--slot", "1m"); err != nil {
		return err
	}
	box, err := s.mail()
	if err != nil {
		return err
	}
	defer box.Down()
	config, err := s.configure(token)
	if err != nil {
		return err
	}
	if err := s.oneFactory(ctx); err != nil {
		return err
	}
	for i, r := range regions {
		if err := s.publish(ctx, r, 1); err != nil {
			return err
		}
		if err := s.do(ctx, "", "mfpcloud", slices.Concat([]string{"rollout", "add", cloudService, "--state", s.dir(r.name)}, strings.Fields(r.offers))...); err != nil {
			return err
		}
		other := regions[1-i]
		err := s.start("cloud "+r.name, s.say.cloud(r.name), "mfpcloud", "serve", "--region", r.name, "--listen", r.listen, "--service-listen", r.services,
			"--peer", other.name+"=https://"+other.listen+",https://"+other.services, "--state", s.dir(r.name), "--push-interval", "4s", "--smtp", mailServer, "--mail-from", "print@"+r.name+".example")
		if err != nil {
			return err
		}
		if err := answers(ctx, r.listen); err != nil {
			return err
		}
	}
	if err := s.befriend(ctx); err != nil {
		return err
	}
	if err := s.start("gateway", s.say.gateway(), "mfpgate", "serve", "--config", config); err != nil {
		return err
	}
	if err := answers(ctx, relay); err != nil {
		return err
	}
	password, err := s.account(ctx, "portal-password", "admin")
	if err != nil {
		return err
	}
	users, err := s.account(ctx, "user-password", "sato", "--role", "user", "--email", user)
	if err != nil {
		return err
	}
	s.say.line("portal   https://%s  (user admin, password %s, or user sato, password %s; the certificate is the gateway's own)", portal, password, users)
	s.say.line("cloud    https://%s/ui/  (user operator, password in %s; the cloud's own certificate)", regions[0].listen, operator)
	s.say.line("prints   https://%s/device  (user %s, password in %s) is where a code is typed; the letters lie in %s", regions[0].listen, administrator, approver, filepath.Join(stateDir, "mail"))
	s.say.line("panel    http://%s  of jp-mfp-%d, which registers itself", panel, regions[0].devices)
	s.say.line("moves    https://%s/moves  for the %d MFPs that were built for %s", portal, regions[1].devices, regions[1].name)
	s.say.line("metrics  http://%s/metrics", metrics)
	s.say.line("status   bin/mfpgate status --socket %s", filepath.Join(stateDir, "gateway", "control.sock"))
	s.say.line("printers ipp://127.0.1.1:%d/ipp/print to 127.0.1.8, SNMP on port %d, community public", ippPort, snmpPort)
	s.say.line("eight MFPs share a capacity of five; Ctrl-C ends everything")
	for i, r := range regions {
		if err := s.fleet(ctx, r, i == 0); err != nil {
			return err
		}
	}
	if err := s.plan(ctx, operator); err != nil {
		return err
	}
	return s.live(ctx)
}

// fleet starts a region's devices. The last of them may be one that registers itself.
func (s *site) fleet(ctx context.Context, r region, agent bool) error {
	state := s.dir("devices-" + r.name)
	if err := os.MkdirAll(state, 0o700); err != nil {
		return err
	}
	ca := filepath.Join(s.dir(r.name), "cert.pem")
	children := strings.ReplaceAll(strings.TrimPrefix(r.offers, "--child "), " --child ", ",")
	common := []string{"--service", cloudService + "=" + children, "--data-every", "30s",
		"--cloud", "https://" + r.listen, "--ca", filepath.Join(s.base, "clouds.pem"), "--factory-key", filepath.Join(s.dir(r.name), "factory.key"), "--proxy", "http://" + relay,
		"--model", model, "--poll", "5s", "--print", "--ipp-port", fmt.Sprint(ippPort), "--snmp-port", fmt.Sprint(snmpPort), "--activity", fmt.Sprint(jobsPerHour)}
	for _, of := range regions { // a device that was moved is moved on by the region in which it is then
		key, err := s.kept(ctx, of.name+"-key", of.name, "key")
		if err != nil {
			return err
		}
		common = append(common, "--region-key", key)
	}
	count := r.devices
	if agent {
		count--
		id := fmt.Sprintf("%s-mfp-%d", r.name, r.devices)
		err := s.start("device "+id, s.say.devices(), "mfpsim", slices.Concat([]string{"run", "--id", id, "--serial", fmt.Sprintf("%s%06d", strings.ToUpper(r.name), r.devices),
			"--bind", fmt.Sprintf("127.0.1.%d", r.devices), "--state", filepath.Join(state, id+".json"), "--agent", "https://" + portal,
			"--agent-ca", filepath.Join(s.dir("gateway"), "portal", "certificate.pem"), "--print-service", "name=office,kind=reference,url=https://" + r.listen + ",ca=" + ca,
			"--smtp", mailServer, "--smtp-tls", "none", "--mail-from", id + "@example.jp", "--admin-domain", "example.jp", "--panel", panel}, common)...)
		if err != nil {
			return err
		}
	}
	return s.start("devices "+r.name, s.say.devices(), "mfpsim", slices.Concat([]string{"fleet", "--count", fmt.Sprint(count), "--first", r.firstDevice,
		"--state", state, "--prefix", r.name + "-mfp-", "--serial-prefix", strings.ToUpper(r.name)}, common)...)
}

// mail runs the mail server, which writes each letter into a file.
func (s *site) mail() (*mailbox.Box, error) {
	dir := s.dir("mail")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	box, err := mailbox.Open(mailServer)
	if err != nil {
		return nil, fmt.Errorf("mail server: %w", err)
	}
	box.Came = func(l mailbox.Letter) {
		file := filepath.Join(dir, strings.ReplaceAll(l.ID, "/", "_")+".txt")
		text := fmt.Sprintf("From: %s\nTo: %s\nSubject: %s\n\n%s", l.From, l.To, l.Subject, l.Text)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			s.say.line("mail: %v", err)
			return
		}
		s.say.line("mail to %s: %s (%s)", l.To, l.Subject, filepath.Join(stateDir, "mail", filepath.Base(file)))
	}
	return box, nil
}

// live publishes new versions until the end, or until a program ends by itself.
func (s *site) live(ctx context.Context) error {
	for version := 2; ; version++ {
		timer := mfpgate.SystemClock{}.NewTimer(newVersion)
		select {
		case <-ctx.Done():
			timer.Stop()
			s.say.line("stopping")
			return nil
		case err := <-s.ended():
			timer.Stop()
			return err
		case <-timer.C():
		}
		if version > lastVersions {
			continue
		}
		for _, r := range regions {
			if err := s.publish(ctx, r, version); err != nil {
				return err
			}
		}
		s.say.line("the clouds publish firmware 1.%d", version)
	}
}

func (s *site) publish(ctx context.Context, r region, version int) error {
	return s.do(ctx, "", "mfpcloud", "package", "generate", "--state", s.dir(r.name), "--model", model, "--version", fmt.Sprintf("1.%d", version), "--size", packageSize)
}

// account makes an account of the portal with a new password and keeps that beside the state, for its owner alone.
func (s *site) account(ctx context.Context, file, name string, flags ...string) (string, error) {
	file = filepath.Join(s.base, file)
	if kept, err := os.ReadFile(file); err == nil {
		return strings.TrimSpace(string(kept)), nil
	}
	password := strings.ToLower(rand.Text()[:16])
	args := append([]string{"user", "add", name, "--socket", filepath.Join(s.dir("gateway"), "control.sock")}, flags...)
	if err := s.do(ctx, password+"\n", "mfpgate", args...); err != nil {
		return "", err
	}
	return password, os.WriteFile(file, []byte(password+"\n"), 0o600)
}

// made runs a command of the first region that prints a secret once, and keeps what it prints.
func (s *site) made(ctx context.Context, file string, command ...string) (path string, err error) {
	return s.kept(ctx, file, regions[0].name, command...)
}

// kept is the file with what a command of a region printed, for its owner alone. Where it is, the command is not run again.
func (s *site) kept(ctx context.Context, file, region string, command ...string) (path string, err error) {
	path = filepath.Join(s.base, file)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	cmd := exec.CommandContext(ctx, filepath.Join("bin", "mfpcloud"), append(command, "--state", s.dir(region))...)
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("mfpcloud %s: %w", strings.Join(command, " "), err)
	}
	return path, os.WriteFile(path, text, 0o600)
}

func (s *site) dir(name string) string { return filepath.Join(s.base, name) }

// configure writes the gateway's configuration: every device known by its address, each region's cloud allowed.
func (s *site) configure(token string) (path string, err error) {
	var b strings.Builder
	fmt.Fprintf(&b, `site: {name: demo, region: jp, time_zone: Asia/Tokyo, location: "this machine"}
state_dir: %s
relay:
  listen: ["%s"]
  clients: [127.0.0.0/8]
  allow:
`, s.dir("gateway"), relay)
	for _, r := range regions {
		host, port, err := net.SplitHostPort(r.listen)
		if err != nil {
			return "", err
		}
		_, services, err := net.SplitHostPort(r.services)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "    - {host: %s, ports: [%s, %s], private: true}\n", host, port, services)
	}
	fmt.Fprintf(&b, `  capacity: {devices: 5, queue_timeout: 20s, linger: 2s}
  per_device: {rate: 500kB/s}
  timeouts: {drain: 5s}
devices:
  monitoring: polling           # five of the eight report for themselves
  ranges: [{network: 127.0.1.4/31, monitoring: proxy}, {network: 127.0.1.6, monitoring: proxy}, {network: 127.0.1.7, monitoring: proxy, market: us}, {network: 127.0.1.8, monitoring: proxy, market: us}]
  snmp: {ranges: [127.0.1.0/28], communities: [public], port: %d, scan_every: 1m}
  polling: {status: 5s, supplies: 15s, counters: 30s, heartbeat: 5m}
  static:
`, snmpPort)
	n := 0
	for _, r := range regions {
		for i := range r.devices {
			n++
			address := fmt.Sprintf("127.0.1.%d", n)
			more := ""
			if n == regions[0].devices {
				more = ", registration: agent"
			}
			fmt.Fprintf(&b, "    - {address: %s, name: %s-mfp-%d, uri: \"ipp://%s:%d/ipp/print\"%s}\n", address, r.name, i+1, address, ippPort, more)
		}
	}
	fmt.Fprintf(&b, "cloud: {url: \"https://%s\", gateway_id: %s, token: {file: %s}}\n", regions[0].listen, gateway, token)
	fmt.Fprintf(&b, "schedule: {background: [{name: log-upload, start: %q, duration: 4m, concurrency: 4}]}\n", s.crowd.In(calendarZone).Format("2006-01-02T15:04"))
	fmt.Fprintf(&b, `print_services: [{name: office, kind: reference, url: "https://%s", ca: %s}]
registration: {admin: %s}
mail: {smtp: "%s", from: mfpgate@example.jp, tls: none}
`, regions[0].listen, filepath.Join(s.dir(regions[0].name), "cert.pem"), administrator, mailServer)
	fmt.Fprintf(&b, "portal: {listen: \"%[1]s\", url: \"https://%[1]s\"}\nmetrics: {listen: \"%[2]s\"}\n", portal, metrics)
	path = filepath.Join(s.base, "mfpgate.yaml")
	return path, os.WriteFile(path, []byte(b.String()), 0o600)
}

func portsFree() error {
	printers := fmt.Sprintf("%s:%d", regions[0].firstDevice, ippPort)
	for _, address := range []string{relay, portal, metrics, regions[0].listen, regions[1].listen, regions[0].services, regions[1].services, mailServer, panel, printers} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("%s is taken; end what listens there, perhaps another `make run`: %w", address, err)
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

// answers waits until something listens at address.
func answers(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		if mfpgate.Wait(ctx, mfpgate.SystemClock{}, 50*time.Millisecond) != nil {
			return fmt.Errorf("nothing listens at %s: %w", address, err)
		}
	}
}

// do runs a program to its end.
func (s *site) do(ctx context.Context, stdin, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join("bin", program), args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, args[0], err, out)
	}
	return nil
}

var errEnded = errors.New("ended by itself")
