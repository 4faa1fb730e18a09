// Package port finds ports for programs and servers of tests that can only be told one, or that come again to the one that they had.
//
// It promises that nothing beside takes such a port in the meantime: it is none of those that the kernel hands out (ip(7),
// ip_local_port_range), nor one that a test has fixed on that address. It fails the test where a hundred tries meet a listener each.
package port

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Free returns an address of host, which is one of the loopback, with a TCP port where nobody listens.
func Free(t testing.TB, host string) (address string) {
	t.Helper()
	return free(t, host, func(address string) (interface{ Close() error }, error) { return net.Listen("tcp", address) })
}

// FreeUDP is Free for UDP.
func FreeUDP(t testing.TB, host string) (address string) {
	t.Helper()
	return free(t, host, func(address string) (interface{ Close() error }, error) { return net.ListenPacket("udp", address) })
}

func free(t testing.TB, host string, listen func(address string) (interface{ Close() error }, error)) string {
	t.Helper()
	for range 100 {
		address := net.JoinHostPort(host, strconv.Itoa(20000+rand.IntN(12000)))
		if l, err := listen(address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatalf("no port of %s is free", host)
	return ""
}
