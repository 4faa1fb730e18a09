package route

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

const (
	maxPage    = 1000 // moves
	maxCursor  = 1 << 10
	maxSeen    = 128 // writers in a move's Seen
	minPause   = time.Second
	maxPause   = time.Minute
	quickEmpty = time.Second // an empty page that comes sooner was not held back
)

// watch follows the region's feed of moves. The place is written after what stands before it, so that a crash makes it read again.
func (b *Broker) watch(ctx context.Context) error {
	cursor, err := b.position(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	for pause := minPause; ; {
		began := b.Clock.Now()
		next, moves, err := b.page(ctx, cursor)
		if ctx.Err() != nil {
			return nil
		}
		b.called("read the moves", err)
		switch {
		case err == nil && next != cursor:
			cursor, pause = next, minPause
			continue
		case err == nil && moves == 0 && b.Clock.Now().Sub(began) >= quickEmpty:
			pause = minPause
			continue
		case err == nil && moves == 0: // the server holds nothing back
			pause = minPause
		case errors.Is(err, mfpgate.ErrRefused) && cursor != "": // the region does not know the place, perhaps after a restore
			cursor = ""
		}
		if mfpgate.Wait(ctx, b.Clock, b.jitter(pause)) != nil {
			return nil
		}
		pause = min(2*pause, maxPause)
	}
}

func (b *Broker) position(ctx context.Context) (cursor string, err error) {
	if b.again {
		return "", nil
	}
	err = b.Store.View(ctx, func(s store.Snapshot) error {
		p, err := find(s, cursorKey, positionSchema)
		if unreadable(err) {
			return nil
		}
		if p != nil {
			cursor = p.Cursor
		}
		return err
	})
	return cursor, err
}

// page takes over one page of the feed.
func (b *Broker) page(ctx context.Context, cursor string) (next string, n int, err error) {
	call, cancel := context.WithTimeout(ctx, waitTimeout)
	moves, next, err := b.Cloud.Changes(call, cursor)
	cancel()
	switch {
	case err != nil:
		return cursor, 0, err
	case len(moves) > maxPage || len(next) > maxCursor:
		return cursor, 0, fmt.Errorf("a page of %d moves with a cursor of %d bytes; at most %d and %d", len(moves), len(next), maxPage, maxCursor)
	}
	if err := b.take(ctx, moves...); err != nil {
		return cursor, 0, err
	}
	if len(moves) == 0 {
		b.readToEnd()
	}
	if next == cursor {
		return cursor, len(moves), nil
	}
	err = b.update(ctx, func(tx store.Tx) error { return store.SetJSON(tx, cursorKey, position{schema, next}) })
	if err != nil {
		return cursor, 0, fmt.Errorf("keep the place in the feed: %w", err)
	}
	return next, len(moves), nil
}

// readToEnd lets the policy act: before, it might begin what has been done.
func (b *Broker) readToEnd() {
	b.mu.Lock()
	first := !b.current
	b.current = true
	b.mu.Unlock()
	if first {
		poke(b.due)
	}
}

// acceptable says why a move cannot be one of this gateway's.
func (b *Broker) acceptable(m mfpgate.Move) error {
	switch {
	case m.Gateway != b.Gateway:
		return errors.New("it is another gateway's")
	case !safe(string(m.ID)) || !safe(string(m.Device)) || len(m.MFP) > 256:
		return errors.New("its ids are none")
	case !goodRegion(m.From) || !goodRegion(m.To) || m.From == m.To:
		return errors.New("its regions are none")
	case m.Epoch == 0:
		return errors.New("it has no epoch")
	case m.State.Committed() && m.Step.Seq() >= 0 && m.Step.Seq() < mfpgate.StepCommit.Seq():
		return errors.New("its step is before the commit, its state after")
	}
	return nil
}

// follows reports whether a move may be told of as m after it was told of as old. Early is true of what is merely an older message.
func follows(old *kept, m mfpgate.Move) (early bool, err error) {
	if old.Device != m.Device || old.From != m.From || old.To != m.To || old.Epoch != m.Epoch || old.MFP != m.MFP {
		return false, errors.New("the id names another move")
	}
	was, is := rank(old.State), rank(m.State)
	switch {
	case old.State.Committed() && !m.State.Committed() && m.State != mfpgate.MoveOpen:
		return false, errors.New("it was committed, and would be taken back")
	case m.State.Committed() && (old.State == mfpgate.MoveCompensating || old.State == mfpgate.MoveRolledBack):
		return false, errors.New("it was taken back, and would be committed")
	case is != was:
		return is < was, nil
	case old.Step.Seq() != m.Step.Seq():
		return m.Step.Seq() < old.Step.Seq(), nil
	}
	return m.Since.Before(old.Since), nil
}

func rank(s mfpgate.MoveState) int {
	switch s {
	case mfpgate.MoveCompensating:
		return 1
	case mfpgate.MoveCommitted, mfpgate.MoveStuck:
		return 2
	case mfpgate.MoveRolledBack, mfpgate.MoveDone:
		return 3
	}
	return 0
}

// fit cuts a move to what a record holds. What goes first is what only people read.
func fit(m mfpgate.Move) mfpgate.Move {
	m.Detail, m.RequestedBy, m.Reason = mfpgate.CleanText(m.Detail, 1<<10), mfpgate.CleanText(m.RequestedBy, 256), mfpgate.Reason(mfpgate.CleanText(string(m.Reason), 64))
	m.OldRegistration, m.NewRegistration = mfpgate.CleanText(m.OldRegistration, 256), mfpgate.CleanText(m.NewRegistration, 256)
	if len(m.Seen) > maxSeen {
		m.Seen = nil
	}
	m.Probes = m.Probes[:min(len(m.Probes), MaxProbes)]
	for _, shrink := range []func(){
		func() {},
		func() { m.Plan.Data, m.Plan.Blockers, m.Plan.Children, m.Plan.Services = nil, nil, nil, nil },
		func() {
			p := m.Plan
			m.Plan = mfpgate.MovePlan{Device: m.Device, MFP: m.MFP, From: m.From, To: m.To, Epoch: p.Epoch, Hash: mfpgate.CleanText(p.Hash, 128)}
			m.Steps = m.Steps[max(len(m.Steps)-16, 0):]
		},
		func() { m.Probes, m.Receipt = nil, nil },
		func() { m.Steps, m.Seen, m.Step = nil, nil, mfpgate.MoveStep(mfpgate.CleanText(string(m.Step), 32)) },
	} {
		shrink()
		if data, err := json.Marshal(m); err == nil && len(data) <= maxRecord {
			return m
		}
	}
	return m
}

// ignored tells of a move of the feed that is not taken.
func (b *Broker) ignored(m mfpgate.Move, why error) {
	b.Log.Warn().Err(why).Str(field.Move, mfpgate.CleanText(string(m.ID), 64)).Str(field.Device, mfpgate.CleanText(string(m.Device), 64)).Str(field.Outcome, "ignored").Msg(event.MoveChanged)
}
