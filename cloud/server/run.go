package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// drain is how long requests may take to end after Run's context has.
const drain = 10 * time.Second

// ErrPlain is returned by Run for plain HTTP on an address that others can reach: tokens would pass in the clear.
var ErrPlain = errors.New("plain HTTP is for loopback addresses only; leave --http out, or listen on 127.0.0.1")

// Listening says where and how Run serves.
type Listening struct {
	Address string   // host:port; port 0 takes a free one
	Names   []string // more names for the certificate
	Plain   bool     // HTTP without TLS; loopback only
}

// Run serves until ctx ends, then ends push channels, waits up to ten seconds for requests and returns nil. ready is told
// the base URL once the address is bound.
func (s *Server) Run(ctx context.Context, l Listening, ready func(url string)) error {
	host, _, err := net.SplitHostPort(l.Address)
	if err != nil {
		return fmt.Errorf("listen: %w; write host:port", err)
	}
	scheme, config := "https", (*tls.Config)(nil)
	if l.Plain {
		if !mfpgate.Loopback(host) {
			return fmt.Errorf("listen on %s: %w", l.Address, ErrPlain)
		}
		scheme = "http"
	} else if config, err = s.tls(host, l.Names); err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.Address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	url := scheme + "://" + listener.Addr().String()
	if config != nil {
		listener = tls.NewListener(listener, config)
	}
	srv := &http.Server{
		Handler: s.Handler(), ErrorLog: s.connectionLog(), ReadHeaderTimeout: 15 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 32 << 10, BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	if err := s.Resume(ctx); err != nil {
		s.troubled(ctx, err) // each is tried again when somebody asks for it
	}
	if s.PublicURL == "" {
		s.print.At(reached(scheme, listener.Addr(), l.Names))
	}
	s.Log.Info().Str(field.Region, s.Region).Str(field.Listen, url).Msg(event.DaemonStarted)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := srv.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve: %w", err)
		}
		return nil
	})
	g.Go(func() error { return s.sweeping(gctx) })
	g.Go(func() error { return s.print.Run(gctx) })
	g.Go(func() error {
		<-gctx.Done()
		s.Log.Info().Str(field.Region, s.Region).Msg(event.DaemonStopping)
		s.EndStreams()
		budget, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		if err := srv.Shutdown(budget); err != nil {
			return srv.Close() // a download that goes on: its device resumes it later
		}
		return nil
	})
	ready(url)
	err = g.Wait()
	s.Log.Info().Str(field.Region, s.Region).Msg(event.DaemonStopped)
	return err
}

func (s *Server) tls(host string, more []string) (*tls.Config, error) {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if ip, err := netip.ParseAddr(host); host != "" && (err != nil || !ip.IsUnspecified()) {
		names = append(names, host)
	}
	cert, err := s.Folder.Certificate(append(names, more...))
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}, nil
}

// reached is the base URL under which others may reach a listener: of one on all addresses the certificate's first name.
func reached(scheme string, at net.Addr, names []string) string {
	host, port, _ := net.SplitHostPort(at.String())
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = append(names, "localhost")[0]
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}
