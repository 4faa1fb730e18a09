package region_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/store"
)

// TestAbortTakesAMoveBackUntilTheCommit: at each exchange an administrator aborts, before it has its effect and after.
func TestAbortTakesAMoveBackUntilTheCommit(t *testing.T) {
	for _, at := range []string{"jp services offers", "us services unlink", "us management copy", "us services copy", "jp services verify",
		"us services drain", "us management delta", "us services delta", "jp services activate"} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprint(at, ", effect before ", late), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, w *world) {
					var id mfpgate.MoveID
					aborted := false
					hook := func(c call) error {
						if c.String() != at || id == "" || aborted {
							return nil
						}
						aborted = true
						_, err := w.Abort(context.WithoutCancel(t.Context()), gw, id, admin)
						return err
					}
					if late {
						w.after = hook
					} else {
						w.before = hook
					}
					w.make(w.store)
					r := w.wants("dev_1")
					p, err := w.Plan(t.Context(), gw, r)
					if err != nil {
						t.Fatal(err)
					}
					r.Plan = p.Hash
					m, _, err := w.Start(t.Context(), gw, r, admin, "")
					if err != nil {
						t.Fatal(err)
					}
					id = m.ID
					w.start()
					w.gateway(id)
					m = w.backAsItWas(m, region.Aborted)
					if !strings.Contains(m.Detail, admin) {
						t.Errorf("%q does not name %s", m.Detail, admin)
					}
					if again, err := w.Abort(t.Context(), gw, m.ID, admin); err != nil || again.State != mfpgate.MoveRolledBack {
						t.Errorf("again: %s, %v", again.State, err)
					}
				})
			})
		}
	}
}

// racing is a store in which somebody does something right before a commit.
type racing struct {
	store.Store
	before func(tx store.Tx)
}

type watchedTx struct {
	store.Tx
	set func(key string, value []byte)
}

func (t watchedTx) Set(key string, value []byte) error {
	t.set(key, value)
	return t.Tx.Set(key, value)
}

func (r *racing) Update(ctx context.Context, fn func(store.Tx) error) error {
	return r.Store.Update(ctx, func(tx store.Tx) error {
		committing := false
		err := fn(watchedTx{tx, func(key string, value []byte) {
			committing = committing || strings.HasPrefix(key, "move/") && strings.Contains(string(value), `"state":"committed","step":"switch"`)
		}})
		if err == nil && committing && r.before != nil {
			before := r.before
			r.before = nil
			before(tx)
		}
		return err
	})
}

// TestAbortAgainstTheCommit: the store decides, and everybody hears the same.
func TestAbortAgainstTheCommit(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := &racing{Store: w.store}
		aborts := make(chan error, 1)
		var id mfpgate.MoveID
		s.before = func(store.Tx) { // the commit has been computed, and is not written
			_, err := w.Abort(context.WithoutCancel(t.Context()), gw, id, admin)
			aborts <- err
		}
		w.make(s)
		r := w.wants("dev_1")
		p, err := w.Plan(t.Context(), gw, r)
		if err != nil {
			t.Fatal(err)
		}
		r.Plan = p.Hash
		m, _, err := w.Start(t.Context(), gw, r, admin, "")
		if err != nil {
			t.Fatal(err)
		}
		id = m.ID
		w.begin(s)
		synctest.Wait()
		w.gateway(id)
		synctest.Wait()
		if err := <-aborts; err != nil {
			t.Fatalf("the abort came first: %v", err)
		}
		w.backAsItWas(m, region.Aborted)
		if actions := w.audits(); slices.Contains(actions, "move.committed") {
			t.Errorf("audit %q", actions)
		}
	})
}

func TestAbortAfterTheCommitIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start()
		m := w.moves("dev_1")
		w.gateway(m.ID)
		m = w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepSwitch, region.AwaitsGateway)
		position := w.cursor()
		if _, err := w.Abort(t.Context(), gw, m.ID, admin); reason(err) != region.AfterCommit {
			t.Errorf("%v", err)
		}
		if w.cursor() != position {
			t.Error("it changed something")
		}
		if _, err := w.Abort(t.Context(), "tokyo-1", m.ID, admin); reason(err) != region.NoSuchMove {
			t.Errorf("another gateway: %v", err)
		}
		if _, err := w.Abort(t.Context(), gw, "mov_x/y", admin); reason(err) != region.NoSuchMove {
			t.Errorf("no id: %v", err)
		}
	})
}

func (w *world) cursor() string {
	w.t.Helper()
	_, next, err := w.Changes(w.t.Context(), gw, "", 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return next
}
