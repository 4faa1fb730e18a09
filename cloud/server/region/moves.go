package region

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
)

const (
	maxWaiting      = 2000 // calls that are held back
	maxWaitingOfOne = 4    // of one gateway
	throttledFor    = 10 * time.Second
)

// GatewayPath names a gateway.
type GatewayPath struct {
	Gateway string `path:"gw" maxLength:"64"`
}

// MovePath names a move.
type MovePath struct {
	Move mfpgate.MoveID `path:"id" pattern:"^mov_[0-9A-Z]{26}$"`
}

var moveForm = regexp.MustCompile(`^mov_[0-9A-Z]{26}$`)

// waiters bound the calls that are held back.
type waiters struct {
	mu  sync.Mutex
	all int
	of  map[string]int
}

func (w *waiters) enter(gateway string) (leave func(), ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all >= maxWaiting || w.of[gateway] >= maxWaitingOfOne {
		return nil, false
	}
	w.all++
	w.of[gateway]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.all--
		if w.of[gateway]--; w.of[gateway] == 0 {
			delete(w.of, gateway)
		}
	}, true
}

// begun is the answer to who asked for a plan or a move.
type begun struct {
	Status   int
	Replayed string `header:"Idempotency-Replayed"`
	Body     any
}

func (m *Management) startMove(ctx context.Context, in *struct {
	GatewayPath
	Key  string `header:"Idempotency-Key" maxLength:"128"`
	Body api.MoveStart
}) (*begun, error) {
	if in.Body.DryRun {
		plan, err := m.saga.Plan(ctx, in.Gateway, in.Body.MoveRequest)
		if err != nil {
			return nil, answer(err)
		}
		return &begun{Status: http.StatusOK, Body: plan}, nil
	}
	key := strings.Trim(in.Key, `" `)
	if key == "" {
		return nil, refuse(http.StatusBadRequest, ReasonKey, "send an Idempotency-Key that is unique to this request")
	}
	move, again, err := m.saga.Start(ctx, in.Gateway, in.Body.MoveRequest, m.actor(ctx, in.Body.Actor), key)
	if err != nil {
		return nil, answer(err)
	}
	out := &begun{Status: http.StatusCreated, Body: move}
	if again {
		out.Replayed = "true"
	}
	return out, nil
}

// actor is who did it: a person, as the gateway says, behind the gateway that said so.
func (m *Management) actor(ctx context.Context, said string) string {
	caller := m.Caller(ctx)
	who := string(caller.Role) + " " + caller.ID
	if said != "" {
		who += ": " + said
	}
	return who
}

// listMoves answers at once if moves have changed since, else when one does or the wait is over.
func (m *Management) listMoves(ctx context.Context, in *struct {
	GatewayPath
	After string `query:"after" maxLength:"64" doc:"nextCursor of the page before; missing: all"`
	Wait  int    `query:"wait" minimum:"0" maximum:"60" doc:"Seconds that an empty page may be held back"`
	Limit int    `query:"limit" minimum:"1" maximum:"100" default:"100"`
}) (*struct{ Body api.MovesPage }, error) {
	page := func() (*struct{ Body api.MovesPage }, error) {
		list, next, err := m.saga.Changes(ctx, in.Gateway, in.After, in.Limit)
		if err != nil {
			return nil, answer(err)
		}
		if list == nil {
			list = []mfpgate.Move{}
		}
		return &struct{ Body api.MovesPage }{api.MovesPage{Items: list, NextCursor: next}}, nil
	}
	out, err := page()
	if err != nil || len(out.Body.Items) > 0 || in.Wait == 0 {
		return out, err
	}
	leave, ok := m.waiting.enter(in.Gateway)
	if !ok {
		return nil, refuse(http.StatusTooManyRequests, ReasonThrottled, "too many calls wait for moves already").retry(throttledFor)
	}
	defer leave()
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	over := m.Clock.NewTimer(time.Duration(in.Wait) * time.Second)
	defer over.Stop()
	changed := make(chan error, 1)
	go func() { changed <- m.saga.Await(waiting, in.Gateway, in.After) }() // ends with waiting at the latest
	select {
	case err := <-changed:
		if err != nil && ctx.Err() == nil {
			return nil, answer(err)
		}
	case <-over.C():
	case <-m.Ending:
	case <-ctx.Done():
	}
	return page()
}

func (m *Management) getMove(ctx context.Context, in *struct {
	GatewayPath
	MovePath
}) (*moved, error) {
	move, err := m.saga.Get(ctx, in.Gateway, in.Move)
	return moveAnswer(move, err)
}

type moved struct{ Body mfpgate.Move }

func moveAnswer(move mfpgate.Move, err error) (*moved, error) {
	if err != nil {
		return nil, answer(err)
	}
	return &moved{move}, nil
}

// act is what a gateway does to its move, or tells of it.
func (m *Management) act(ctx context.Context, in *struct {
	GatewayPath
	MovePath
	Verb string `path:"verb" enum:"abort,retry,confirm-lost,probes,switch,check-ins"`
	Body api.MoveAct
}) (*moved, error) {
	if len(in.Body.Seen) > api.MaxSeen {
		return nil, refuse(http.StatusUnprocessableEntity, ReasonInvalid, "seen names more writers than a move has")
	}
	var err error
	switch in.Verb {
	case api.VerbProbes:
		err = m.saga.Probed(ctx, in.Gateway, in.Move, in.Body.Probes, in.Body.Seen)
	case api.VerbSwitch:
		err = m.saga.Switched(ctx, in.Gateway, in.Move, in.Body.Epoch, in.Body.Seen)
	case api.VerbCheckIns:
		err = m.saga.CheckedIn(ctx, in.Gateway, in.Move, in.Body.Epoch, in.Body.At, in.Body.Seen)
	default:
		return moveAnswer(m.decide(ctx, in.Gateway, in.Move, in.Verb, m.actor(ctx, in.Body.Actor)))
	}
	if err != nil {
		return nil, answer(err)
	}
	return moveAnswer(m.saga.Get(ctx, in.Gateway, in.Move))
}

func (m *Management) decide(ctx context.Context, gateway string, id mfpgate.MoveID, verb, actor string) (mfpgate.Move, error) {
	switch verb {
	case api.VerbAbort:
		return m.saga.Abort(ctx, gateway, id, actor)
	case api.VerbRetry:
		return m.saga.Retry(ctx, gateway, id, actor)
	default:
		return m.saga.ConfirmLost(ctx, gateway, id, actor)
	}
}

// listAll are the moves of every gateway, the newest first.
func (m *Management) listAll(ctx context.Context, in *struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
	Cursor string `query:"cursor" maxLength:"64" doc:"nextCursor of the page before; opaque"`
}) (*struct{ Body api.Page[mfpgate.Move] }, error) {
	if in.Cursor != "" && !moveForm.MatchString(in.Cursor) {
		return nil, refuse(http.StatusBadRequest, ReasonCursor, "the cursor is not one of this list's; start again without one")
	}
	list, err := m.saga.Page(ctx, mfpgate.MoveID(in.Cursor), in.Limit)
	if err != nil {
		return nil, answer(err)
	}
	page := api.Page[mfpgate.Move]{Items: list}
	if len(list) == in.Limit {
		page.NextCursor = string(list[len(list)-1].ID)
	}
	return &struct{ Body api.Page[mfpgate.Move] }{page}, nil
}

func (m *Management) getAny(ctx context.Context, in *MovePath) (*moved, error) {
	move, err := m.saga.Get(ctx, "", in.Move)
	return moveAnswer(move, err)
}

func (m *Management) actAny(ctx context.Context, in *struct {
	MovePath
	Verb string `path:"verb" enum:"abort,retry,confirm-lost"`
}) (*moved, error) {
	return moveAnswer(m.decide(ctx, "", in.Move, in.Verb, m.actor(ctx, "")))
}
