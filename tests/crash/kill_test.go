package crash_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/badger"
)

// childDir in the environment makes the test's binary the writer that is to be killed.
const (
	childDir   = "CRASH_CHILD_DIR"
	childFills = "CRASH_CHILD_FILLS" // and fills the disk instead
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		run := write
		if os.Getenv(childFills) != "" {
			run = fill
		}
		if err := run(dir, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	m.Run() // goroutines are counted in the store's own tests: an open that Badger itself fails leaves some of Badger's
}

func open(ctx context.Context, dir string) (*badger.DB, error) {
	return badger.Open(ctx, badger.Options{Dir: dir, Clock: mfpgate.SystemClock{}, BallastSize: 1 << 20})
}

// half is a value of some size that tells whose sequence it is of.
func half(seq int, side string) []byte {
	text := fmt.Sprintf("%d %s ", seq, side)
	return []byte(text + strings.Repeat("x", 3000))
}

// write adds transactions of a sequence number and two halves for ever, and prints the number once it is committed.
func write(dir string, out io.Writer) error {
	ctx := context.Background()
	if _, err := fmt.Fprintln(out, "START"); err != nil {
		return err
	}
	d, err := open(ctx, dir)
	if err != nil {
		return err
	}
	if r := d.Recovered(); r != nil {
		return fmt.Errorf("recovered: %s", r.Cause)
	}
	for {
		var seq int
		err := d.Update(ctx, func(tx store.Tx) error {
			v, err := tx.Get("seq")
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			seq, _ = strconv.Atoi(string(v)) // none yet is 0
			seq++
			return errors.Join(tx.Set("seq", []byte(strconv.Itoa(seq))),
				tx.Set(fmt.Sprintf("left/%d", seq%500), half(seq, "left")), tx.Set(fmt.Sprintf("right/%d", seq%500), half(seq, "right")))
		})
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, "ACK", seq); err != nil {
			return err
		}
	}
}

// killed runs a writer, kills it at the given time after it began to open, or after its first commit, and returns the first
// and the last number that it acknowledged, or 0.
func killed(t *testing.T, dir string, opening bool, after time.Duration) (first, last int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	lines.Scan() // START: from here on it is opening
	if !opening && lines.Scan() {
		_, err := fmt.Sscanf(lines.Text(), "ACK %d", &first)
		must(t, err)
		last = first
	}
	killer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer killer.Stop()
	for lines.Scan() {
		if _, err := fmt.Sscanf(lines.Text(), "ACK %d", &last); err != nil {
			t.Errorf("child printed %q", lines.Text()) // a line is one write, so it is whole
		}
		if first == 0 {
			first = last
		}
	}
	if err := cmd.Wait(); stderr.Len() > 0 || err == nil {
		t.Fatalf("the writer ended by itself: %v\n%s", err, stderr.String())
	}
	return first, last
}

// check opens the store after a kill and returns its sequence number.
func check(t *testing.T, dir string) (seq int) {
	t.Helper()
	d, err := badger.Open(t.Context(), badger.Options{
		Dir: dir, Clock: mfpgate.SystemClock{}, BallastSize: 1 << 20,
		Log: func(level slog.Level, text string) {
			if level >= slog.LevelWarn {
				t.Log(level, text)
			}
		},
	})
	must(t, err)
	defer func() { must(t, d.Close()) }()
	if r := d.Recovered(); r != nil {
		t.Fatalf("a kill made the store damaged: %s", r.Cause)
	}
	seq, err = whole(t, d)
	must(t, err)
	return seq
}

// whole returns the sequence number, or an error if a transaction up to it is missing or torn.
func whole(t *testing.T, s store.Store) (seq int, err error) {
	t.Helper()
	err = s.View(t.Context(), func(snap store.Snapshot) error {
		v, err := snap.Get("seq")
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if seq, err = strconv.Atoi(string(v)); err != nil {
			return err
		}
		for n := max(1, seq-499); n <= seq; n++ {
			for _, side := range []string{"left", "right"} {
				got, err := snap.Get(fmt.Sprintf("%s/%d", side, n%500))
				if err != nil || string(got) != string(half(n, side)) {
					return fmt.Errorf("at %d the %s half of %d is %.20q: %w", seq, side, n, got, errors.Join(err, errTorn))
				}
			}
		}
		return nil
	})
	return seq, err
}

var errTorn = errors.New("torn")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestKill(t *testing.T) {
	seed := uint64(os.Getpid())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := filepath.Join(t.TempDir(), "state")
	var beforeFirst, promised int
	for i := range kills {
		opening := i%4 == 3
		after := time.Duration(random.Int64N(int64(50 * time.Millisecond)))
		first, acknowledged := killed(t, dir, opening, after)
		switch {
		case acknowledged == 0:
			beforeFirst++
		case first <= promised:
			t.Fatalf("kill %d: %d was acknowledged, and the next writer found less: it wrote %d", i, promised, first)
		}
		promised = max(promised, acknowledged)
		if i%4 != 1 && i != kills-1 {
			continue // the next writer opens what the kill left, without a clean close between
		}
		seq := check(t, dir)
		if seq < promised {
			t.Fatalf("kill %d: %d was acknowledged, %d is there", i, promised, seq)
		}
		promised = seq
	}
	t.Logf("%d kills, %d before the first commit of their process, %d transactions, none lost, none torn", kills, beforeFirst, promised)
	if promised == 0 || beforeFirst == 0 || beforeFirst == kills {
		t.Errorf("the kills did not hit both opens and writes: %d of %d before the first commit", beforeFirst, kills)
	}
}
