package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/mfpgate/mfpgate/tests/peers"
)

func (b *bench) command(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w\n%s", name, args, err, out)
	}
	return nil
}

// spliceRelay is the kernel's limit: it runs with this process's privileges, which lift the bound on pipes.
func (b *bench) spliceRelay(ctx context.Context, o *origin) (*peer, error) {
	p := &peer{name: "splicerelay", plain: true}
	var err error
	if p.address, err = freeAddress(); err != nil {
		return nil, err
	}
	return p, b.start(ctx, p, program{path: filepath.Join(b.dir, "splicerelay"), args: []string{p.address, o.addresses[0].String()}, asRoot: true})
}

func (b *bench) goproxy(ctx context.Context, _ *origin) (*peer, error) {
	p := &peer{name: "goproxy"}
	var err error
	if p.address, err = freeAddress(); err != nil {
		return nil, err
	}
	return p, b.start(ctx, p, program{path: filepath.Join(b.dir, "goproxyhost"), args: []string{p.address}})
}

// haproxy relays plain TCP, for it cannot end a CONNECT.
func (b *bench) haproxy(ctx context.Context, o *origin) (*peer, error) {
	p := &peer{name: "haproxy", plain: true}
	var err error
	if p.address, err = freeAddress(); err != nil {
		return nil, err
	}
	path, err := peers.Locate("haproxy")
	if err != nil {
		return nil, err
	}
	// Two descriptors a connection, within the same limit as everybody.
	file := filepath.Join(b.dir, "haproxy.cfg")
	config := fmt.Sprintf(`global
  maxconn 9800
defaults
  mode tcp
  maxconn 9800
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen relay
  bind %s
  server origin %s
`, p.address, o.addresses[0])
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, err
	}
	return p, b.start(ctx, p, program{path: path, args: []string{"-db", "-f", file}})
}

// squid caches and logs nothing, and lets everybody go everywhere. Its error pages, which are another package, are none.
func (b *bench) squid(ctx context.Context, _ *origin) (*peer, error) {
	p := &peer{name: "squid"}
	var err error
	if p.address, err = freeAddress(); err != nil {
		return nil, err
	}
	path, err := peers.Locate("squid")
	if err != nil {
		return nil, err
	}
	share, err := peers.LocateShare("squid")
	if err != nil {
		return nil, err
	}
	state, err := os.MkdirTemp(b.dir, "squid-")
	if err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(state, nobody, nobody); err != nil {
			return nil, err
		}
	}
	file := filepath.Join(state, "squid.conf")
	config := fmt.Sprintf(`http_port %s
http_access allow all
cache deny all
cache_mem 8 MB
memory_cache_shared off
access_log none
cache_store_log none
cache_log stdio:%s/cache.log
pid_filename none
netdb_filename none
coredump_dir %s
pinger_enable off
max_filedescriptors 20000
mime_table %s/mime.conf
icon_directory %s/icons
error_directory %s
unlinkd_program %s
dns_nameservers 127.0.0.1
visible_hostname bench
`, p.address, state, state, share, share, state, filepath.Join(share, "../../lib/squid/unlinkd"))
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, err
	}
	return p, b.start(ctx, p, program{path: path, args: []string{"-N", "-f", file}})
}
