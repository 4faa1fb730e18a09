package lan

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Address is what this machine has besides the loopback for programs that are Alone.
var Address = netip.AddrFrom4([4]byte{10, 77, 255, 1})

// Alone starts the running test program again in a network namespace of its own, which has a loopback and Address; a TestMain calls it
// first. It is for tests of what takes TCP ports in an order, as a printer's endpoint does: the packages that `go test` runs side by side
// would have each other's. Without the right to make a namespace it does nothing.
func Alone() {
	const told = "MFPGATE_TEST_ALONE" // the program is started again once
	if os.Getenv(told) != "" {
		return
	}
	runtime.LockOSThread() // what this thread becomes the program is
	defer runtime.UnlockOSThread()
	program, err := os.Executable()
	if err != nil || unix.Unshare(unix.CLONE_NEWNET) != nil {
		return
	}
	if err := up(); err != nil {
		panic(fmt.Errorf("a network of its own: %w", err))
	}
	panic(syscall.Exec(program, os.Args, append(os.Environ(), told+"=1"))) // it does not return but for an error
}

// up makes the thread's network usable.
func up() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	loopback, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	loopback.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, loopback); err != nil {
		return err
	}
	second, err := unix.NewIfreq("lo:1")
	if err != nil {
		return err
	}
	if err := second.SetInet4Addr(Address.AsSlice()); err != nil {
		return err
	}
	return unix.IoctlIfreq(s, unix.SIOCSIFADDR, second)
}
