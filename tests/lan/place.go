package lan

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// threads are those that no place has now. None ever ends: with a thread its children with Pdeathsig die, and among them may
// be some that the test had started there before the thread was ours.
var threads struct {
	sync.Mutex
	idle []chan func()
}

// takeThread returns where to send what shall run on one thread that nobody else uses.
func takeThread() chan func() {
	threads.Lock()
	defer threads.Unlock()
	if last := len(threads.idle) - 1; last >= 0 {
		calls := threads.idle[last]
		threads.idle = threads.idle[:last]
		return calls
	}
	calls := make(chan func())
	go func() { // for as long as the process lives
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			serve(calls)
		}
		// The main thread would show a place in /proc/self to all others. Keep it until another thread is found.
		found := make(chan struct{})
		go func() { // for as long as the process lives
			runtime.LockOSThread()
			close(found)
			serve(calls)
		}()
		<-found
		runtime.UnlockOSThread()
	}()
	return calls
}

func serve(calls <-chan func()) {
	// A thread that shares its root and working folder with others cannot change mount namespaces.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		panic(err) // it takes no privilege
	}
	for f := range calls {
		f()
	}
}

// giveThread takes back a thread that is at home again.
func giveThread(calls chan func()) {
	threads.Lock()
	defer threads.Unlock()
	threads.idle = append(threads.idle, calls)
}

// goHome brings the calling thread back into the process's own namespaces.
func goHome() error {
	for _, ns := range []string{"net", "mnt", "uts", "ipc", "pid"} {
		f, err := os.Open("/proc/self/ns/" + ns) // the main thread's
		if err != nil {
			return err
		}
		err = unix.Setns(int(f.Fd()), 0)
		_ = f.Close()
		if err != nil {
			return fmt.Errorf("return to the process's %s namespace: %w", ns, err)
		}
	}
	return nil
}

// place is a thread in namespaces of its own. What it starts lives there.
type place struct{ calls chan func() }

// newPlace makes the namespaces of flags, then runs prepare there.
func newPlace(flags int, prepare func() error) (*place, error) {
	p := &place{calls: takeThread()}
	err := p.do(func() error {
		if err := unix.Unshare(flags); err != nil {
			return fmt.Errorf("make namespaces: %w", err)
		}
		return prepare()
	})
	if err != nil {
		return nil, errors.Join(err, p.leave())
	}
	return p, nil
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

// leave lets go of the namespaces.
func (p *place) leave() error {
	if err := p.do(goHome); err != nil {
		return err // and nobody uses the thread again
	}
	giveThread(p.calls)
	return nil
}

// firstProcess starts what is process 1 of the process namespace that the calling thread has made. When it dies, all others
// die. It dies with the test at the latest.
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
