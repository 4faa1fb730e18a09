package approval_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/badger"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/store/storetest"
)

// TestOutcomesThatAreNotKnown has the store say of commits that it does not know whether they happened. All goes on as if it had
// known: nothing is created, counted or mailed twice.
func TestOutcomesThatAreNotKnown(t *testing.T) {
	unknown := 0
	for seed := range uint64(12) {
		bubble(t, func(t *testing.T, g *gateway) {
			dice := rand.New(rand.NewPCG(seed, 3))
			u := &doubtful{Unsure: storetest.Unsure{Store: g.store}, dice: dice}
			g.begin(u)
			ask := func(who string) mfpgate.Registration {
				q := mfpgate.RegistrationRequest{Device: "d1", Service: "office", User: who}
				request := func() (r mfpgate.Registration, created, doubted bool, err error) {
					for range 20 { // a caller that is told so asks again
						if r, created, err = g.Request(t.Context(), q, who, "key"); !errors.Is(err, store.ErrUnknown) {
							break
						}
						doubted = true
					}
					return r, created, doubted, err
				}
				r, created, doubted, err := request()
				if err != nil || !created && !doubted {
					t.Fatalf("seed %d: created %v, %v", seed, created, err)
				}
				again, created, _, err := request()
				if err != nil || created || again.ID != r.ID {
					t.Errorf("seed %d: the same again: %s, created %v, %v", seed, again.ID, created, err)
				}
				return r
			}
			a, b := ask(user), ask("sato@example.com")
			for _, who := range []string{user, "sato@example.com"} {
				g.pass(20 * time.Second)
				g.office.Decide(who, true)
				g.pass(20 * time.Second)
			}
			for _, r := range []mfpgate.Registration{a, b} {
				g.want(r.ID, mfpgate.RegistrationRegistered, "", 1)
			}
			if p := g.office.Printers(); len(p) != 1 || len(p[0].Users) != 2 {
				t.Errorf("seed %d: %+v", seed, p)
			}
			ids := map[string]int{}
			for _, l := range g.mailer.Letters("") {
				ids[l.ID]++
			}
			if len(ids) != 4 || len(g.office.Codes()) != 2 {
				t.Errorf("seed %d: letters %v, %d codes; want one of each to two people each, and two codes", seed, ids, len(g.office.Codes()))
			}
			report, err := journal.VerifyAudit(t.Context(), g.store, "audit/")
			if err != nil || report.Err() != nil {
				t.Errorf("seed %d: %v, %v", seed, err, report.Err())
			}
			g.leftovers(fmt.Sprint("seed ", seed))
			unknown += u.unknown
		})
	}
	if unknown < 100 {
		t.Errorf("only %d outcomes were not known", unknown)
	}
}

// doubtful is a store that does not know of every third commit whether it happened, of three in a row at most: four are too many for
// anybody.
type doubtful struct {
	storetest.Unsure
	mu      sync.Mutex
	dice    *rand.Rand
	row     int
	unknown int
}

func (d *doubtful) Update(ctx context.Context, fn func(store.Tx) error) error {
	d.mu.Lock()
	if d.row++; d.row <= 3 && d.dice.IntN(3) == 0 {
		d.Next(storetest.Fate(d.dice.IntN(2) == 0))
		d.unknown++
	} else {
		d.row = 0
	}
	d.mu.Unlock()
	return d.Unsure.Update(ctx, fn)
}

// TestCodesAreCountedOnce holds the metrics where the store reports that it does not know, and at the ends of codes.
func TestCodesAreCountedOnce(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		u := &storetest.Unsure{Store: g.store}
		g.begin(u)
		value := func(name string, labels ...string) float64 {
			return g.metrics.Value("mfpgate_registration_"+name, labels...)
		}
		a := g.ask("d1", user)
		g.pass(15*time.Minute - time.Second)
		if got := value("state", "state", "awaiting_admin"); got != 1 {
			t.Errorf("%v wait for the administrator, want 1", got)
		}
		if got := value("oldest_open_seconds"); got < 14*60 || got > 15*60 {
			t.Errorf("the oldest is %v s old", got)
		}
		u.Next(storetest.CommittedUnseen, storetest.LostUnseen, storetest.CommittedUnseen) // the end of the code is among them
		g.pass(30 * time.Second)
		g.office.Decide(user, true)
		g.pass(20 * time.Second)
		g.want(a.ID, mfpgate.RegistrationRegistered, "", 2)
		g.device("d2")
		b := g.ask("d2", user)
		g.pass(time.Second)
		g.office.Decide(user, false)
		g.pass(20 * time.Second)
		g.want(b.ID, mfpgate.RegistrationFailed, approval.Denied, 1)
		got := map[string]float64{"mails sent": value("mails_total", "result", "sent"), "oldest": value("oldest_open_seconds")}
		for _, result := range []string{"approved", "denied", "expired", "unsent", "lost", "refused"} {
			got[result] = value("attempts_total", "result", result)
		}
		for _, code := range []string{"granted", "denied"} {
			got["poll "+code] = value("polls_total", "code", code)
		}
		for _, state := range []string{"awaiting_admin", "registered", "failed"} {
			got[state] = value("state", "state", state)
		}
		want := map[string]float64{"mails sent": 5, "oldest": 0, "approved": 1, "denied": 1, "expired": 1, "unsent": 0, "lost": 0, "refused": 0,
			"poll granted": 1, "poll denied": 1, "awaiting_admin": 0, "registered": 1, "failed": 1}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if polls := float64(len(g.office.Polls())); value("polls_total", "code", "pending") < polls-4 {
			t.Errorf("%v of %v polls are counted as pending", value("polls_total", "code", "pending"), polls)
		}
	})
}

// TestOnBadger registers a device on the store that gateways have, with its restart between.
func TestOnBadger(t *testing.T) {
	g := newGateway(t)
	g.office.Pushes, g.office.Interval = true, time.Second
	dir := filepath.Join(t.TempDir(), "store")
	open := func() *badger.DB {
		db, err := badger.Open(t.Context(), badger.Options{Dir: dir, Clock: mfpgate.SystemClock{}, BallastSize: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	until := func(id string, reached func(mfpgate.Registration) bool) (r mfpgate.Registration) {
		t.Helper()
		for range 2000 {
			if r = g.get(id); reached(r) {
				return r
			}
			_ = mfpgate.Wait(t.Context(), mfpgate.SystemClock{}, 10*time.Millisecond)
		}
		t.Fatalf("it stays %s, %s", r.State, r.Reason)
		return r
	}
	db := open()
	g.run(store.Prefix(db, "room/"))
	r, _, err := g.Request(t.Context(), mfpgate.RegistrationRequest{Device: "d1", Service: "office", User: user}, user, "")
	if err != nil {
		t.Fatal(err)
	}
	until(r.ID, func(r mfpgate.Registration) bool { return r.UserCode != "" })
	g.halt()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open()
	g.run(store.Prefix(db, "room/"))
	g.office.Decide(user, true)
	if end := until(r.ID, func(r mfpgate.Registration) bool { return r.State.Ended() }); end.State != mfpgate.RegistrationRegistered || end.Attempt != 1 {
		t.Errorf("%+v", end)
	}
	g.halt()
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if n := len(g.mailer.Letters(admin)); n != 1 {
		t.Errorf("%d letters", n)
	}
	if text := g.mailer.Letters(admin)[0].Text; !strings.Contains(text, "BCDF-0001") {
		t.Error(text)
	}
}
