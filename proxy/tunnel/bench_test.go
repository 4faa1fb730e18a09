package tunnel_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/tunnel"
)

// open is a tunnel to measure.
func open(b *testing.B) (device, origin *net.TCPConn) {
	b.Helper()
	registry := tunnel.NewRegistry(mfpgate.SystemClock{}, generous)
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- registry.Run(ctx) }()
	spec := tunnel.Spec{Idle: time.Minute}
	device, spec.Client = pair(b)
	origin, spec.Origin = pair(b)
	t := registry.Open(spec)
	b.Cleanup(func() {
		t.Cut(tunnel.Drained)
		registry.Drain(context.Background(), time.Hour)
		stop()
		<-stopped
	})
	return device, origin
}

// BenchmarkBulk moves 1 MiB from the origin to the device an operation, from kernel to kernel.
func BenchmarkBulk(b *testing.B) {
	device, origin := open(b)
	chunk := make([]byte, 1<<20)
	b.SetBytes(int64(len(chunk)))
	got := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.Discard, device, int64(b.N)*int64(len(chunk)))
		got <- err
	}()
	b.ResetTimer()
	for range b.N {
		if _, err := origin.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-got; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkPing is one byte there and one back.
func BenchmarkPing(b *testing.B) {
	device, origin := open(b)
	done := make(chan error, 1)
	go func() {
		_, err := io.CopyN(origin, origin, int64(b.N))
		done <- err
	}()
	one := []byte{1}
	b.ResetTimer()
	for range b.N {
		if _, err := device.Write(one); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(device, one); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}
