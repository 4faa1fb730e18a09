package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
)

// origin is the cloud's side, in this process. The first byte of a connection says what the origin does on it.
type origin struct {
	addresses []netip.AddrPort // one port on many addresses, so that no peer runs out of local ports
	listeners []*net.TCPListener
	done      sync.WaitGroup
}

// What a connection is for.
const (
	echo byte = 'e' // the origin returns every byte, the first too
	down byte = 'd' // the origin sends for as long as it can
	up   byte = 'u' // the origin takes what comes
)

// originAddresses is how many addresses the origin has: 127.3.0.1 and on.
const originAddresses = 16

const bulkBuffer = 256 << 10

func startOrigin() (*origin, error) {
	o := &origin{}
	port := 0
	for i := range originAddresses {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 3, 0, byte(i+1)), Port: port})
		if err != nil {
			o.close()
			return nil, fmt.Errorf("start origin: %w", err)
		}
		at := l.Addr().(*net.TCPAddr).AddrPort()
		port = int(at.Port())
		o.listeners, o.addresses = append(o.listeners, l), append(o.addresses, at)
		o.done.Go(func() { o.accept(l) })
	}
	return o, nil
}

func (o *origin) accept(l *net.TCPListener) {
	for {
		conn, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			o.done.Go(func() { serve(conn) })
		}
	}
}

func serve(conn *net.TCPConn) {
	defer conn.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(conn, first); err != nil {
		return
	}
	switch first[0] {
	case echo:
		for n := 1; n > 0; {
			if _, err := conn.Write(first[:n]); err != nil {
				return
			}
			n, _ = conn.Read(first)
		}
	case down:
		block := make([]byte, bulkBuffer)
		for {
			if _, err := conn.Write(block); err != nil {
				return
			}
		}
	case up:
		block := make([]byte, bulkBuffer)
		for {
			if _, err := conn.Read(block); err != nil {
				return
			}
		}
	}
}

// close ends the origin. Its connections end with those of the clients.
func (o *origin) close() {
	for _, l := range o.listeners {
		_ = l.Close()
	}
	o.done.Wait()
}
