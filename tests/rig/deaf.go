package rig

import (
	"net"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// Deaf is a TCP port that answers no connection attempt: its backlog is the least and full, so the kernel drops further
// SYNs as a host that is away would, and no packet leaves the machine.
func Deaf(t testing.TB) *Origin {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := name.(*unix.SockaddrInet4).Port
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for i := 0; ; i++ {
		conn, err := net.DialTimeout("tcp", address, Deadline/60)
		if err != nil {
			break
		}
		t.Cleanup(func() { _ = conn.Close() })
		if i > 64 {
			t.Fatalf("%s takes connections without end", address)
		}
	}
	return &Origin{Address: address, Port: strconv.Itoa(port)}
}

// Refusing returns a port of the loopback that refuses connections for as long as the test runs: it is bound, so that
// nobody else gets it, and nobody listens.
func Refusing(t testing.TB) (port string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(name.(*unix.SockaddrInet4).Port)
}
