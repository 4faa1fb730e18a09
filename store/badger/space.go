package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/mfpgate/mfpgate/store"
)

// Badger writes through memory maps of sparse files, so a full disk is not an error but a SIGBUS, and again at the next
// start (badger#1682). needed is what its two memory tables may come to occupy, each in a file of twice its size.
const needed = 2 * (2 * memTableSize)

// space watches the file system of the state directory.
type space struct {
	dir     string
	ballast int64
}

func (s space) path() string { return filepath.Join(s.dir, "ballast") }

// floor is where writes end.
func (s space) floor() int64 { return needed + s.ballast }

func (s space) free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(s.dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", s.dir, err)
	}
	return int64(min(st.Bavail, 1<<40)) * st.Bsize, nil
}

// check refuses a write below the floor.
func (s space) check() error {
	free, err := s.free()
	if err != nil {
		return err
	}
	if free < s.floor() {
		return fmt.Errorf("%w: %d MiB free for %s, %d MiB needed; free some space", store.ErrFull, free>>20, s.dir, s.floor()>>20)
	}
	return nil
}

// makeRoom gives the ballast back if Badger could not even open or close without it.
func (s space) makeRoom() error {
	free, err := s.free()
	if err != nil {
		return err
	}
	if free < needed {
		if err := os.Remove(s.path()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if free, err = s.free(); err != nil {
			return err
		}
	}
	if free < needed {
		return fmt.Errorf("%w: %d MiB free for %s, %d MiB needed to open or close the store; free some space", store.ErrFull, free>>20, s.dir, needed>>20)
	}
	return nil
}

// takeBallast sets the ballast aside where it does not itself bring the free space below the floor.
func (s space) takeBallast() error {
	if st, err := os.Stat(s.path()); err == nil && st.Size() == s.ballast {
		return nil
	}
	if err := os.Remove(s.path()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	free, err := s.free()
	if err != nil || s.ballast == 0 || free < s.floor()+s.ballast {
		return err
	}
	f, err := os.OpenFile(s.path(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, s.ballast)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = fillFile(f, s.ballast)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("ballast: %w", err), os.Remove(s.path()))
	}
	return nil
}

func fillFile(f *os.File, size int64) error {
	block := make([]byte, 1<<20)
	for size > 0 {
		n, err := f.Write(block[:min(size, int64(len(block)))])
		if err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}
