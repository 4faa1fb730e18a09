package daemon

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/daemon/portal"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// page is one HTTP server beside the relay.
type page struct {
	listener net.Listener
	handler  http.Handler
	log      telemetry.Logger
}

// serve answers until the listener is closed, and then lets what is under way end.
func (p page) serve() error {
	server := &http.Server{Handler: p.handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: 60 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: log.New(noise{p.log}, "", 0), ConnContext: control.WithPeer}
	err := server.Serve(p.listener)
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, server.Close())
}

// noise is what net/http says of connections, such as a TLS handshake that was broken off: for debugging only.
type noise struct{ log telemetry.Logger }

// maxNoise bounds a remark, in which a peer may have its say.
const maxNoise = 512

func (n noise) Write(text []byte) (int, error) {
	n.log.Debug().Bytes(field.Text, bytes.TrimSpace(text[:min(len(text), maxNoise)])).Msg(event.DaemonNoise)
	return len(text), nil
}

// Noise is where a process has the standard logger write: net/http's client says there, and nowhere else, what it thinks of a
// peer that talks without being asked, with the peer's own words.
func (d *Daemon) Noise() io.Writer { return noise{d.log} }

func (d *Daemon) pages(s *sockets) []page {
	api := control.Handler(gateway{d}, d.Build.Version)
	pages := []page{{control.Peers(s.control, func(uid uint32) {
		d.log.Warn().Uint32(field.User, uid).Msg(event.ControlRefused)
	}), api, d.log}}
	if s.metrics != nil {
		pages = append(pages, page{s.metrics, d.health.handler(), d.log})
	}
	if s.portal != nil {
		pages = append(pages, page{tls.NewListener(s.portal, d.cert.TLS()), d.besidePortal(), d.log})
	}
	return pages
}

// openPortal builds the portal and gets its certificate, while a failure can still keep the daemon from starting.
func (d *Daemon) openPortal(cfg *config.Config) (err error) {
	g := gateway{d}
	d.portal, err = portal.New(portal.Options{Gateway: g, Accounts: g, API: control.Handler(g, d.Build.Version), Clock: d.Clock, Log: d.log,
		URL:       func() string { return portalURL(d.config.Load()) },
		Certified: func(host string) bool { return d.cert.Certifies(host) }})
	if err != nil {
		return err
	}
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "" // the certificate does without
	}
	host, _, err := net.SplitHostPort(cfg.Portal.Listen)
	if err != nil {
		return err
	}
	d.cert, err = portal.OpenCertificate(portal.CertificateOptions{Cert: cfg.Portal.TLS.Cert, Key: cfg.Portal.TLS.Key,
		Dir: filepath.Join(cfg.StateDir, "portal"), Names: portal.CertificateNames(hostname, cfg.Site.Name, host), Clock: d.Clock, Log: d.log})
	return err
}
