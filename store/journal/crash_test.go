package journal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/badger"
	"github.com/mfpgate/mfpgate/store/journal"
)

// childDir in the environment makes the test's binary a gateway on that store, whose effects go to childURL, and which kills
// itself at step childStep: before and after each Update and each call.
const (
	childDir  = "JOURNAL_CHILD_DIR"
	childURL  = "JOURNAL_CHILD_URL"
	childStep = "JOURNAL_CHILD_STEP"
)

const crashIntents, crashRows = 2, 4

// mortal is a store whose process dies at a step.
type mortal struct {
	store.Store
	step, last *atomic.Int64
}

func (m mortal) pass() {
	if m.step.Add(1) == m.last.Load() {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until the signal arrives
	}
}

func (m mortal) Update(ctx context.Context, fn func(store.Tx) error) error {
	m.pass()
	defer m.pass()
	return m.Store.Update(ctx, fn)
}

func (m mortal) post(ctx context.Context, path string, body any) (next uint64, err error) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	m.pass()
	defer m.pass()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, os.Getenv(childURL)+path, bytes.NewReader(data))
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return next, json.NewDecoder(resp.Body).Decode(&next)
}

type sent struct {
	Stream string
	First  uint64
	Rows   []string
}

// child does what is to be done, and ends when all of it is.
func child(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	db, err := badger.Open(ctx, badger.Options{Dir: dir, Clock: mfpgate.SystemClock{}, BallastSize: 1 << 20})
	if err != nil {
		return err
	}
	m := mortal{store.Prefix(db, "local/room/"), &atomic.Int64{}, &atomic.Int64{}}
	at, _ := strconv.ParseInt(os.Getenv(childStep), 10, 64) // none is 0: it lives
	m.last.Store(at)
	var done atomic.Int64
	j, err := journal.New(m, journal.Options{
		Clock: mfpgate.SystemClock{}, Rand: rand.New(rand.NewPCG(1, 2)), Gateway: "osaka-1", Room: "room",
		MinDelay: time.Millisecond, Observe: func(journal.Event) { done.Add(1) },
	})
	if err != nil {
		return err
	}
	j.Handle("effect", func(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
		_, err := m.post(ctx, "/effect", in.ID)
		return func(tx store.Tx) error {
			v, _ := tx.Get("settled/" + in.ID)
			return errors.Join(tx.Set("settled/"+in.ID, append(v, 'x')), j.Audit(tx, journal.Entry{Action: "effect.settled", Object: in.ID}))
		}, err
	})
	q := j.Queue("up", roomy)
	err = m.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Get("fact"); err == nil {
			return nil
		}
		for n := range crashIntents {
			if err := j.Intend(tx, journal.Intent{ID: fmt.Sprint("i", n), Kind: "effect", Object: "o"}); err != nil {
				return err
			}
		}
		return errors.Join(tx.Set("fact", nil), q.Append(tx, numbers(1, crashRows)...))
	})
	if err != nil {
		return err
	}
	run, stop := context.WithCancel(ctx)
	defer stop()
	var tasks sync.WaitGroup
	tasks.Go(func() { err = errors.Join(err, j.Run(run)) })
	tasks.Go(func() {
		_ = q.Deliver(run, 2, 1<<20, func(ctx context.Context, b journal.Batch) (uint64, error) {
			s := sent{Stream: b.Stream, First: b.First}
			for _, r := range b.Rows {
				s.Rows = append(s.Rows, string(r.Data))
			}
			return m.post(ctx, "/rows", s)
		})
	})
	for ctx.Err() == nil {
		list, err := j.List(ctx, "", 10)
		st, err2 := q.Stats(ctx)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		if len(list) == 0 && st.Rows == 0 {
			break
		}
		if err := mfpgate.Wait(ctx, mfpgate.SystemClock{}, time.Millisecond); err != nil {
			return err
		}
	}
	stop()
	tasks.Wait()
	return errors.Join(err, db.Close())
}

// outside is what the gateway's effects reach.
type outside struct {
	receiver
	effects []string // each id once, in the order of first sight
	again   int      // calls that came again
}

func (o *outside) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var next uint64
	if r.URL.Path == "/rows" {
		var s sent
		if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		next = o.take(s.Stream, s.First, s.Rows)
	} else {
		var id string
		_ = json.NewDecoder(r.Body).Decode(&id)
		o.mu.Lock()
		if strings.Contains(strings.Join(o.effects, " "), id) {
			o.again++
		} else {
			o.effects = append(o.effects, id)
		}
		o.mu.Unlock()
	}
	_ = json.NewEncoder(w).Encode(next)
}

func TestKilledAtEveryStep(t *testing.T) {
	repeated := 0
	for step := 1; ; step++ {
		dir, o := t.TempDir(), &outside{}
		server := httptest.NewServer(o)
		start := func(at int) error {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), childDir+"="+dir, childURL+"="+server.URL, childStep+"="+strconv.Itoa(at))
			out, err := cmd.CombinedOutput()
			if len(out) > 0 {
				t.Fatalf("step %d: the child says %s", at, out)
			}
			return err
		}
		killed := start(step) != nil
		if killed {
			must(t, start(0))
		}
		server.Close()
		if diff := cmp.Diff([]string{"i0", "i1"}, o.effects); diff != "" {
			t.Errorf("killed at step %d: effects (-want +got):\n%s", step, diff)
		}
		if diff := cmp.Diff(texts(numbers(1, crashRows)), o.rows); diff != "" || o.gaps != 0 {
			t.Errorf("killed at step %d: rows (-want +got):\n%s, gaps %d", step, diff, o.gaps)
		}
		db := openBadger(t, dir)
		must(t, db.View(t.Context(), func(at store.Snapshot) error {
			for n := range crashIntents {
				if v, err := at.Get(fmt.Sprint("local/room/settled/i", n)); err != nil || string(v) != "x" {
					t.Errorf("killed at step %d: i%d was settled %d times: %v", step, n, len(v), err)
				}
			}
			return nil
		}))
		report, err := journal.VerifyAudit(t.Context(), db, "local/room/audit/")
		if err := errors.Join(err, report.Err()); err != nil || len(report.Chains) != 1 || report.Chains[0].Entries != crashIntents {
			t.Errorf("killed at step %d: audit %+v, %v", step, report, err)
		}
		must(t, db.Close())
		repeated += o.again
		if !killed {
			if step < 2+4*crashIntents+4*crashRows/2 {
				t.Errorf("only %d steps were tried", step)
			}
			break
		}
	}
	if repeated == 0 {
		t.Error("no call came again: the kills missed the place between call and result")
	}
}
