package crash_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/badger"
	"github.com/mfpgate/mfpgate/tests/need"
)

func small(dir string) badger.Options {
	return badger.Options{Dir: filepath.Join(dir, "state"), Clock: mfpgate.SystemClock{}, BallastSize: 4 << 20}
}

// fill writes until the store refuses, lets another program take what is left of the disk, and goes on reading. That it
// gets to its end is the point: writing to a full disk through a memory map kills.
func fill(dir string, out io.Writer) error {
	ctx := context.Background()
	d, err := badger.Open(ctx, small(dir))
	if err != nil {
		return err
	}
	value := make([]byte, store.MaxValue) // random, for zeros could be holes
	if _, err := rand.Read(value); err != nil {
		return err
	}
	n := 0
	for ; ; n++ {
		err := d.Update(ctx, func(tx store.Tx) error { return tx.Set(fmt.Sprintf("fact/%04d", n), value) })
		if errors.Is(err, store.ErrFull) {
			break
		}
		if err != nil {
			return err
		}
	}
	if err := quiet(ctx, filepath.Join(dir, "state", "db")); err != nil {
		return err
	}
	if err := takeRest(dir); err != nil {
		return err
	}
	if err := d.Update(ctx, func(tx store.Tx) error { return tx.Delete("fact/0000") }); !errors.Is(err, store.ErrFull) {
		return fmt.Errorf("with no space left: %w, want ErrFull", err)
	}
	if _, err := d.Backup(ctx); !errors.Is(err, store.ErrFull) {
		return fmt.Errorf("backup with no space left: %w, want ErrFull", err)
	}
	if got, err := count(ctx, d); got != n || err != nil {
		return fmt.Errorf("%d of %d facts can be read: %w", got, n, err)
	}
	if err := d.Close(); !errors.Is(err, store.ErrFull) {
		return fmt.Errorf("close with no space left: %w, want ErrFull", err)
	}
	_, err = fmt.Fprintln(out, n)
	return err
}

// quiet waits until the files in dir have been the same for a while.
func quiet(ctx context.Context, dir string) error {
	before := ""
	for same := 0; same < 10; same++ {
		if err := mfpgate.Wait(ctx, mfpgate.SystemClock{}, 50*time.Millisecond); err != nil {
			return err
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		if now := fmt.Sprint(entries); now != before {
			before, same = now, 0
		}
	}
	return nil
}

func takeRest(dir string) error {
	f, err := os.Create(filepath.Join(dir, "other"))
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if errors.Is(err, unix.ENOSPC) {
		return nil
	}
	return err
}

func count(ctx context.Context, s store.Store) (n int, err error) {
	err = s.View(ctx, func(snap store.Snapshot) error {
		n = 0
		for _, err := range store.All(snap, "fact/") {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}

func TestDiskFull(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		need.That(t, false, "cannot mount a tmpfs: "+err.Error()+"; run where CAP_SYS_ADMIN is")
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childFills+"=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("filling the disk: %v\n%.2000s", err, stderr.String())
	}
	var written int
	if _, err := fmt.Sscan(string(out), &written); err != nil || written < 50 {
		t.Fatalf("%d facts written before the floor: %v", written, err)
	}

	if d, err := badger.Open(t.Context(), small(dir)); !errors.Is(err, store.ErrFull) {
		if err == nil {
			_ = d.Close()
		}
		t.Fatalf("open on a full disk: %v, want ErrFull", err)
	}
	must(t, os.Remove(filepath.Join(dir, "other")))
	d, err := badger.Open(t.Context(), small(dir))
	must(t, err)
	if got, err := count(t.Context(), d); got != written || err != nil || d.Recovered() != nil {
		t.Errorf("%d of %d facts after the disk was full: %v, recovered %+v", got, written, err, d.Recovered())
	}
	must(t, d.Close())
}
