package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// module is the path under which the programs are built.
const module = "github.com/mfpgate/mfpgate/"

// build compiles what the bench runs, as a release is.
func (b *bench) build(ctx context.Context, packages ...string) error {
	args := []string{"build", "-trimpath", "-o", b.dir + "/"}
	for _, p := range packages {
		args = append(args, module+p)
	}
	return b.command(ctx, "go", args...)
}

// daemon starts one of our programs with a state directory and configuration of its own, as a user without privilege.
// name tells several apart; program is mfpgate or relayhost.
func (b *bench) daemon(ctx context.Context, name, binary string, o *origin) (*peer, error) {
	p := &peer{name: name}
	for _, at := range []*string{&p.address, &p.metrics, &p.debug} {
		var err error
		if *at, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	state, err := os.MkdirTemp(b.dir, name+"-state-")
	if err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(state, nobody, nobody); err != nil {
			return nil, err
		}
	}
	file := state + ".yaml"
	// What is not named is at its default; the origin is on the loopback, and no device waits.
	config := fmt.Sprintf(`site: {name: bench, region: jp}
state_dir: %s
relay:
  listen: ["%s"]
  clients: [127.0.0.0/8]
  allow: [{host: 127.3.0.0/24, ports: [%d], private: true}]
  capacity: {devices: 20000}
metrics: {listen: "%s"}
`, state, p.address, o.addresses[0].Port(), p.metrics)
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, err
	}
	how := program{path: filepath.Join(b.dir, binary), args: []string{"serve", "--config", file}}
	if binary == "relayhost" {
		how.args = []string{"-config", file, "-debug", p.debug}
	}
	return p, b.start(ctx, p, how)
}

// free makes relayhost collect its garbage.
func (b *bench) free(ctx context.Context, p *peer) error {
	_, err := fetch(ctx, http.MethodPost, "http://"+p.debug+"/free")
	return err
}

// relayed reads from /metrics how many bytes have moved down to devices, and how many of them by splice.
func (b *bench) relayed(ctx context.Context, p *peer) (all, spliced float64, err error) {
	text, err := fetch(ctx, http.MethodGet, "http://"+p.metrics+"/metrics")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(text) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(series, `mfpgate_relay_bytes_total{direction="down"`) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("read /metrics: %w", err)
		}
		all += n
		if strings.Contains(series, `path="splice"`) {
			spliced += n
		}
	}
	return all, spliced, nil
}

func fetch(ctx context.Context, method, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return string(text), err
}
