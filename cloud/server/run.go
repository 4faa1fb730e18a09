package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
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
	Address  string   // host:port; port 0 takes a free one
	Services string   // the same for the services' own listener; "": Address serves both roles
	Names    []string // more names for the certificate
	Plain    bool     // HTTP without TLS; loopback only
}

// Run serves until ctx ends, then ends push channels, waits up to ten seconds for requests and returns nil. ready is told
// the base URL of the management server, and that of the services if they have a listener of their own, once both are bound.
func (s *Server) Run(ctx context.Context, l Listening, ready func(url string, services string)) error {
	addresses := []string{l.Address}
	if l.Services != "" {
		addresses = append(addresses, l.Services)
	}
	var hosts []string
	for _, address := range addresses {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return fmt.Errorf("listen: %w; write host:port", err)
		}
		if l.Plain && !mfpgate.Loopback(host) {
			return fmt.Errorf("listen on %s: %w", address, ErrPlain)
		}
		hosts = append(hosts, host)
	}
	scheme, config := "http", (*tls.Config)(nil)
	if !l.Plain {
		var err error
		if config, err = s.tls(hosts, l.Names); err != nil {
			return err
		}
		scheme = "https"
	}
	var listeners []net.Listener
	defer func() {
		for _, listener := range listeners {
			_ = listener.Close() // the servers have, unless one could not be bound
		}
	}()
	urls := make([]string, len(addresses))
	for i, address := range addresses {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		urls[i] = scheme + "://" + listener.Addr().String()
		listeners = append(listeners, listener)
	}
	handlers := []http.Handler{s.Handler()}
	if l.Services != "" {
		handlers = []http.Handler{s.part(false), s.part(true)}
	}
	if err := s.Resume(ctx); err != nil {
		s.troubled(ctx, err) // each is tried again when somebody asks for it
	}
	if s.PublicURL == "" {
		s.print.At(reached(scheme, listeners[0].Addr(), l.Names))
	}
	if err := s.reached(scheme, listeners[0].Addr(), listeners[len(listeners)-1].Addr(), l.Names); err != nil {
		return err
	}
	s.Log.Info().Str(field.Region, s.Region).Str(field.Listen, strings.Join(urls, " ")).Msg(event.DaemonStarted)
	g, gctx := errgroup.WithContext(ctx)
	var servers []*http.Server
	for i, listener := range listeners {
		if config != nil {
			listener = tls.NewListener(listener, config)
		}
		srv := &http.Server{
			Handler: handlers[i], ErrorLog: s.connectionLog(), ReadHeaderTimeout: 15 * time.Second, IdleTimeout: 2 * time.Minute,
			MaxHeaderBytes: 32 << 10, BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		}
		servers = append(servers, srv)
		g.Go(func() error {
			if err := srv.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve: %w", err)
			}
			return nil
		})
	}
	g.Go(func() error { return s.sweeping(gctx) })
	g.Go(func() error { return s.print.Run(gctx) })
	g.Go(func() error { return s.management.Run(gctx) })
	g.Go(func() error {
		<-gctx.Done()
		s.Log.Info().Str(field.Region, s.Region).Msg(event.DaemonStopping)
		s.EndStreams()
		budget, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		var errs []error
		for _, srv := range servers {
			if srv.Shutdown(budget) != nil {
				errs = append(errs, srv.Close()) // a download that goes on: its device resumes it later
			}
		}
		return errors.Join(errs...)
	})
	apart := ""
	if l.Services != "" {
		apart = urls[1]
	}
	ready(urls[0], apart)
	err := g.Wait()
	s.Log.Info().Str(field.Region, s.Region).Msg(event.DaemonStopped)
	return err
}

func (s *Server) tls(hosts, more []string) (*tls.Config, error) {
	names := []string{"localhost", "127.0.0.1", "::1"}
	for _, host := range hosts {
		if ip, err := netip.ParseAddr(host); host != "" && (err != nil || !ip.IsUnspecified()) {
			names = append(names, host)
		}
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
