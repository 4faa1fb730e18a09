package lan

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// onThread runs f on a thread that is not used again, and returns a channel that is closed at its end. It is never the main
// thread, which would show the world of f in /proc/self to all others.
func onThread(f func()) <-chan struct{} {
	done := make(chan struct{})
	var start func()
	start = func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if unix.Gettid() != unix.Getpid() {
			defer close(done)
			f()
			return
		}
		go start() // while this one keeps the main thread; ends with done
		<-done
		runtime.UnlockOSThread()
	}
	go start() // whoever holds done waits for it
	return done
}

// place is a thread in namespaces of its own. What it starts lives there.
type place struct {
	calls chan func()
	done  <-chan struct{}
}

// newPlace makes the namespaces of flags, then runs prepare there.
func newPlace(flags int, prepare func() error) (*place, error) {
	p := &place{calls: make(chan func())}
	ready := make(chan error, 1)
	p.done = onThread(func() {
		if err := unix.Unshare(flags | unix.CLONE_FS); err != nil {
			ready <- fmt.Errorf("make namespaces: %w", err)
			return
		}
		err := prepare()
		if ready <- err; err != nil {
			return
		}
		for f := range p.calls {
			f()
		}
	})
	return p, <-ready
}

// do runs f on the place's thread, one at a time. Files that f opens and programs that it starts are the place's.
func (p *place) do(f func() error) (err error) {
	ran := make(chan struct{})
	p.calls <- func() {
		defer close(ran)
		err = f()
	}
	<-ran
	return err
}

// leave ends the thread.
func (p *place) leave() {
	close(p.calls)
	<-p.done
}

// firstProcess starts what is process 1 of the process namespace that the calling thread has made. When it dies, all others
// die. It dies with the thread at the latest.
func firstProcess() (*exec.Cmd, error) {
	first := exec.Command("sleep", "infinity")
	first.Dir = "/"
	first.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := first.Start(); err != nil {
		return nil, fmt.Errorf("start process 1: %w", err)
	}
	return first, nil
}

// furnish gives the calling thread's mount namespace a /run of its own, with the names that programs of the host look up:
// its own, which stands for all its addresses, and no name server.
func furnish(name string) error {
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	// ippeveprinter listens on what its name resolves to, and wants one of each family. With the wildcards it goes on when
	// the host gets another address.
	hosts := fmt.Sprintf("127.0.0.1 localhost\n::1 localhost\n0.0.0.0 %[1]s.local\n:: %[1]s.local\n", name)
	for path, text := range map[string]string{"/etc/hosts": hosts, "/etc/resolv.conf": "# nobody to ask\n"} {
		if _, err := os.Stat(path); err != nil {
			continue // a link into the /run that is covered now: there is nobody to ask either
		}
		own := "/run/" + path[len("/etc/"):]
		if err := os.WriteFile(own, []byte(text), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(own, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("cover %s: %w", path, err)
		}
	}
	return nil
}
