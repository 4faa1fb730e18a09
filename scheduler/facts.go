package scheduler

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

const (
	stateKey       = "state"
	deliveryPrefix = "delivery/"
	rejectedPrefix = "rejected/"
	blobPrefix     = "blob/"
	schema         = 1

	blobPart = 48 << 10
	maxBlob  = 64 << 20 // unpacked
	// perUpdate keeps a transaction of deliveries below the store's bounds: a record is at most maxDelivery.
	perUpdate   = 30
	maxDelivery = 16 << 10
)

// state is all that is decided together.
type state struct {
	Schema  int              `json:"schema"`
	System  string           `json:"system"`
	Token   string           `json:"token"`  // "": everything is to be read
	Window  mfpgate.Interval `json:"window"` // that the token is of
	Fetched time.Time        `json:"fetched"`
	Ran     time.Time        `json:"ran"` // the last good run

	Background        ref    `json:"background"`
	BackgroundVersion string `json:"backgroundVersion"`

	Seq uint64 `json:"seq"` // of the last event
	// What calls for a run, and for a proposal whatever the mode, is counted, and how much of it a run has seen: what comes
	// during a run calls for another.
	Calls        uint64 `json:"calls"`
	CallsSeen    uint64 `json:"callsSeen"`
	Requests     uint64 `json:"requests"`
	RequestsSeen uint64 `json:"requestsSeen"`
	Stale        bool   `json:"stale"` // what was sent was computed from what had changed

	Report   reported `json:"report"`
	Proposal proposed `json:"proposal"`
}

// reported is the last report.
type reported struct {
	ID      string    `json:"id"`
	Content string    `json:"content"` // digest of what it says
	Body    ref       `json:"body"`
	Bands   int       `json:"bands"`
	Sent    time.Time `json:"sent"` // zero: not yet
	Refused string    `json:"refused,omitempty"`
}

// proposed is the last proposal.
type proposed struct {
	ID        string    `json:"id"`
	Content   string    `json:"content"`
	Body      ref       `json:"body"`
	Outcome   ref       `json:"outcome"`
	Changes   int       `json:"changes"`
	Apply     bool      `json:"apply"`
	Requested bool      `json:"requested"` // by an operator, whatever the mode
	Handed    time.Time `json:"handed"`    // zero: not yet
	Closed    bool      `json:"closed"`    // decided, withdrawn, or refused
	Refused   string    `json:"refused,omitempty"`
}

// open reports whether the delivery system has, or will have, a proposal that can still change a start.
func (p proposed) open() bool { return p.ID != "" && !p.Closed }

// undecided reports whether a proposal that is open is to be withdrawn where another takes its place. One that is being applied
// goes on: its deliveries are fixed meanwhile, and to take it back would only make the overload anew.
func (p proposed) undecided() bool { return p.open() && (!p.Apply || p.Handed.IsZero()) }

// requested reports whether an operator wants a proposal, whatever the mode: it is to be made, or waits for its decision.
func (st state) requested() bool {
	return st.Requests > st.RequestsSeen || st.Proposal.open() && st.Proposal.Requested
}

// called reports whether a run is to be made whatever the schedule.
func (st state) called() bool { return st.Calls > st.CallsSeen || st.Requests > st.RequestsSeen }

// keptProposal is the body of a proposal, with the overloads that it is about.
type keptProposal struct {
	Proposal mfpgate.Proposal        `json:"proposal"`
	Bands    map[string]mfpgate.Band `json:"bands"` // by id; without contributors
}

// rejection is a change that is not to be proposed again for this version of the delivery, in this band.
type rejection struct {
	Schema   int              `json:"schema"`
	Version  string           `json:"version"`
	Band     mfpgate.Interval `json:"band"`
	Capacity int              `json:"capacity"`
	Reason   string           `json:"reason"`
	At       time.Time        `json:"at"`
}

// ref names a blob by its content.
type ref struct {
	Sum   string `json:"sum"`
	Parts int    `json:"parts"`
}

func (s *Scheduler) state(ctx context.Context) (st state, err error) {
	err = s.Store.View(ctx, func(v store.Snapshot) error { st, err = readState(v); return err })
	return st, err
}

func readState(g store.Getter) (state, error) {
	var st state
	err := store.GetJSON(g, stateKey, &st)
	if errors.Is(err, store.ErrNotFound) {
		return state{Schema: schema}, nil
	}
	if err == nil && st.Schema > schema {
		err = store.ErrNewerSchema
	}
	return st, err
}

// change changes the state in one transaction, with what else change writes.
func (s *Scheduler) change(ctx context.Context, change func(tx store.Tx, st *state) error) (st state, err error) {
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		if st, err = readState(tx); err != nil {
			return err
		}
		if err := change(tx, &st); err != nil {
			return err
		}
		return store.SetJSON(tx, stateKey, st)
	})
	return st, err
}

// write stores v in parts, under the digest of its content, unless that is what the state names already. Nobody sees it
// before a state names it.
func (s *Scheduler) write(ctx context.Context, v any, known ref) (ref, error) {
	text, err := json.Marshal(v)
	if err != nil || digest(text) == known.Sum {
		return known, err
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(text); err != nil {
		return ref{}, err
	}
	if err := w.Close(); err != nil {
		return ref{}, err
	}
	r := ref{Sum: digest(text), Parts: (packed.Len() + blobPart - 1) / blobPart}
	for n := range r.Parts {
		part := packed.Next(blobPart)
		if err := s.Store.Update(ctx, func(tx store.Tx) error { return tx.Set(r.key(n), part) }); err != nil {
			return ref{}, err
		}
	}
	return r, nil
}

func (r ref) key(n int) string { return fmt.Sprintf("%s%s/%05d", blobPrefix, r.Sum, n) }

// read reads what write wrote into v. The zero ref leaves v as it is.
func (s *Scheduler) read(ctx context.Context, r ref, v any) error {
	if r.Parts == 0 {
		return nil
	}
	var packed bytes.Buffer
	err := s.Store.View(ctx, func(v store.Snapshot) error {
		for n := range r.Parts {
			part, err := v.Get(r.key(n))
			if err != nil {
				return err
			}
			packed.Write(part)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read part of %s: %w", r.Sum, err)
	}
	unpacked, err := gzip.NewReader(&packed)
	if err != nil {
		return fmt.Errorf("read %s: %w", r.Sum, err)
	}
	text, err := io.ReadAll(io.LimitReader(unpacked, maxBlob))
	if err != nil {
		return fmt.Errorf("read %s: %w", r.Sum, err)
	}
	return json.Unmarshal(text, v)
}

// sweep removes blobs that the state does not name. Only the holder of s.busy writes blobs, so none is on its way.
func (s *Scheduler) sweep(ctx context.Context, st state) error {
	live := map[string]bool{st.Background.Sum: true, st.Report.Body.Sum: true, st.Proposal.Body.Sum: true, st.Proposal.Outcome.Sum: true}
	var gone []string
	err := s.Store.View(ctx, func(v store.Snapshot) error {
		gone = nil
		for r, err := range store.All(v, blobPrefix) {
			if err != nil {
				return err
			}
			if sum, _, _ := strings.Cut(strings.TrimPrefix(r.Key, blobPrefix), "/"); !live[sum] {
				gone = append(gone, r.Key)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.remove(ctx, gone)
}

// remove deletes keys, as many at once as a transaction may.
func (s *Scheduler) remove(ctx context.Context, keys []string) error {
	for len(keys) > 0 {
		n := min(len(keys), store.MaxUpdateKeys)
		err := s.Store.Update(ctx, func(tx store.Tx) error {
			var errs []error
			for _, key := range keys[:n] {
				errs = append(errs, tx.Delete(key))
			}
			return errors.Join(errs...)
		})
		if err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// digestOf is the digest of a value's JSON text.
func digestOf(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic("scheduler: " + err.Error()) // our own types, without NaN: see check
	}
	return digest(text)
}
