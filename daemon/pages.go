package daemon

import (
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// page is one HTTP server beside the relay.
type page struct {
	listener net.Listener
	handler  http.Handler
}

// serve answers until the listener is closed, and then lets what is under way end.
func (p page) serve() error {
	server := &http.Server{Handler: p.handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: 60 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10}
	err := server.Serve(p.listener)
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, server.Close())
}

func (d *Daemon) pages(s *sockets) []page {
	g := gateway{d}
	api := control.Handler(g, d.Build.Version)
	pages := []page{{control.Peers(s.control, func(uid uint32) {
		d.log.Warn().Uint32(field.User, uid).Msg(event.ControlRefused)
	}), api}}
	if s.metrics != nil {
		pages = append(pages, page{s.metrics, d.health.handler()})
	}
	return pages
}
