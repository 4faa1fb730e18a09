package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// perDevice is how many connections share a source address.
const perDevice = 4

// parallel is how many clients set up at once.
const parallel = 64

// patience bounds one set-up, for a machine that is busy with something else.
const patience = 20 * time.Second

// device is the source address of device n: 127.2.0.1 and on, 250 to a network.
func device(n int) *net.TCPAddr {
	return &net.TCPAddr{IP: net.IPv4(127, 2, byte(n/250), byte(n%250+1))}
}

// open makes the n-th tunnel of a device through p and sends its first byte.
func (b *bench) open(ctx context.Context, p *peer, o *origin, dev, n int, what byte) (*net.TCPConn, error) {
	dialer := net.Dialer{LocalAddr: device(dev), Timeout: patience}
	c, err := dialer.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", p.name, err)
	}
	conn := c.(*net.TCPConn)
	if err := b.begin(conn, p, o, n, what); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("tunnel through %s: %w", p.name, err)
	}
	return conn, nil
}

func (b *bench) begin(conn *net.TCPConn, p *peer, o *origin, n int, what byte) error {
	if err := conn.SetDeadline(b.clock.Now().Add(patience)); err != nil {
		return err
	}
	if !p.plain {
		to := o.addresses[n%len(o.addresses)]
		if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", to, to); err != nil {
			return err
		}
		if err := established(conn); err != nil {
			return err
		}
	}
	if _, err := conn.Write([]byte{what}); err != nil {
		return err
	}
	if what == echo {
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			return fmt.Errorf("echo: %w", err)
		}
	}
	return conn.SetDeadline(time.Time{})
}

// established reads the answer to a CONNECT. The origin is silent until its first byte, so nothing follows the head.
func established(conn *net.TCPConn) error {
	var head [1024]byte
	for n := 0; n < len(head); {
		m, err := conn.Read(head[n:])
		if err != nil {
			return err
		}
		n += m
		if bytes.HasSuffix(head[:n], []byte("\r\n\r\n")) {
			if bytes.HasPrefix(head[:n], []byte("HTTP/1.1 200 ")) {
				return nil
			}
			status, _ := bufio.NewReader(bytes.NewReader(head[:n])).ReadString('\n')
			return fmt.Errorf("refused: %s", strings.TrimSpace(status))
		}
	}
	return errors.New("the answer's head does not end")
}

// tunnels is a set of open tunnels.
type tunnels []*net.TCPConn

// close resets every tunnel: none lingers in TIME_WAIT and takes a port from the next round.
func (t tunnels) close() {
	for _, conn := range t {
		if conn != nil {
			_ = conn.SetLinger(0)
			_ = conn.Close()
		}
	}
}

// openMany opens count tunnels, several at once, from as many devices as that takes.
func (b *bench) openMany(ctx context.Context, p *peer, o *origin, count int, what byte) (tunnels, error) {
	all := make(tunnels, count)
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range parallel {
		g.Go(func() error {
			for ctx.Err() == nil {
				n := int(next.Add(1)) - 1
				if n >= count {
					return nil
				}
				conn, err := b.open(ctx, p, o, n/perDevice, n, what)
				if err != nil {
					return fmt.Errorf("tunnel %d of %d: %w", n+1, count, err)
				}
				all[n] = conn
			}
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		all.close()
		return nil, err
	}
	return all, nil
}

// setUps makes count tunnels one after the other on each of the parallel clients, moves a byte there and back on each,
// and closes it.
func (b *bench) setUps(ctx context.Context, p *peer, o *origin, count int) error {
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for client := range parallel {
		g.Go(func() error {
			for ctx.Err() == nil {
				n := int(next.Add(1)) - 1
				if n >= count {
					return nil
				}
				conn, err := b.open(ctx, p, o, client, n, echo)
				if err != nil {
					return err
				}
				if err := conn.Close(); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}

// flood moves bytes through open tunnels in one direction until they are closed, and counts what the reader got.
func flood(t tunnels, what byte, moved *atomic.Int64) *sync.WaitGroup {
	var all sync.WaitGroup
	for _, conn := range t {
		all.Go(func() {
			block := make([]byte, bulkBuffer)
			for {
				n, err := 0, error(nil)
				if what == down {
					n, err = conn.Read(block)
				} else {
					n, err = conn.Write(block)
				}
				if err != nil {
					return
				}
				moved.Add(int64(n))
			}
		})
	}
	return &all
}
