package badger

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// checkOwner keeps root from leaving files in the state directory that the service could not open afterwards.
func checkOwner(dir string) error {
	st, err := os.Stat(dir)
	if err != nil {
		return err
	}
	owner := st.Sys().(*syscall.Stat_t).Uid
	if os.Geteuid() == 0 && owner != 0 {
		return fmt.Errorf("open store %s: %w: uid %d owns it; run as that user (runuser, sudo -u), for files that root makes there would keep the service from starting",
			dir, ErrOwner, owner)
	}
	return nil
}

// lock holds the whole state directory, the folders that Open renames included, until unlock or the end of the process.
func lock(dir string) (unlock func() error, err error) {
	path := filepath.Join(dir, "store.lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		pid, _ := io.ReadAll(io.LimitReader(f, 20))
		_ = f.Close()
		if err != unix.EWOULDBLOCK {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return nil, fmt.Errorf("open store %s: %w: another mfpgate (pid %s) is running on this state_dir; stop it, or talk to it over its control socket",
			dir, ErrInUse, strings.TrimSpace(string(pid)))
	}
	// The number is only for the message above.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f.Close, nil
}
