package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/store"
)

const intentPrefix = "journal/intent/"

// What an intent may measure, in bytes.
const (
	MaxID      = 128
	MaxKind    = 64
	MaxObject  = 256
	MaxPayload = 48 << 10
	maxReason  = 1 << 10
)

// Intent is an effect that shall happen, or a timer.
type Intent struct {
	// ID is the idempotency key of the call: the receiver must know by it what it has seen. It is free again once the
	// intent is done or cancelled.
	ID   string `json:"id"`
	Kind string `json:"kind"` // who handles it
	// Object is what the intent acts on. Those of one object are called one at a time, in the order of NotBefore, then of
	// Intend; one that waits for another try holds up those behind it, one that is dead does not. Empty: no order. A timer
	// that must fire though others fail has an object of its own.
	Object  string          `json:"object,omitempty"`
	Payload json.RawMessage `json:"payload"`
	// NotBefore is the wall time of the first call; zero is at once. What became due while nobody ran is called once.
	NotBefore time.Time `json:"notBefore"`
	// Delay, if not 0, is in place of NotBefore: the first call is that long after Intend. If the clock is set back meanwhile,
	// nobody knows by how much, and the call is at once; a timer looks then whether its time has come.
	Delay time.Duration `json:"-"`

	// What the journal adds; Intend ignores it.
	Created  time.Time `json:"created"`
	Due      time.Time `json:"due"`               // of the next call; for a handler, of this one
	Attempts int       `json:"attempts"`          // calls that failed
	LastErr  string    `json:"lastErr,omitempty"` // of the last of them; 1 KiB at most
	Dead     bool      `json:"dead,omitempty"`    // given up
}

// row is the record of an intent. Gen and Attempts together name one try: both the next try and a new intent of the same id
// differ, by which an outcome is found out after store.ErrUnknown.
type row struct {
	Schema int    `json:"schema"`
	Gen    uint64 `json:"gen"`  // a new one at each change by a caller
	Rank   int64  `json:"rank"` // place among those of one object
	// Wait is the delay that led to Due, after a failure or by Intend.
	Wait time.Duration `json:"wait,omitempty"`
	Intent
}

func decodeRow(key string, data []byte) (*row, error) {
	return decode(key, data, func(r *row) int { return r.Schema }, func(r *row) bool {
		return intentPrefix+r.ID == key && r.Kind != "" && r.Attempts >= 0 && r.Wait >= 0
	})
}

func getRow(g store.Getter, id string) (*row, error) {
	data, err := g.Get(intentPrefix + id)
	if err != nil {
		return nil, err
	}
	return decodeRow(intentPrefix+id, data)
}

func setRow(tx store.Tx, r *row) error { return store.SetJSON(tx, intentPrefix+r.ID, r) }

// due is when the next call is, by a clock that shows now. A delay that is longer than it was meant shows that the clock was set
// back, by nobody knows how much: the next try is now.
func (r *row) due(now time.Time) time.Time {
	if r.Wait > 0 && r.Due.Sub(now) > r.Wait {
		return now
	}
	return r.Due
}

// Intend writes an intent in the caller's transaction. With an id that is there it does nothing if all is the same or
// neither NotBefore nor Delay is given; another NotBefore, and a Delay, moves the timer and begins its attempts anew, also those of a dead one; another kind,
// object or payload is ErrDiffers. It touches one key.
func (j *Journal) Intend(tx store.Tx, in Intent) error {
	if err := errors.Join(name("intent id", in.ID, MaxID), name("intent kind", in.Kind, MaxKind)); err != nil {
		return err
	}
	if in.Object != "" {
		if err := name("intent object", in.Object, MaxObject); err != nil {
			return err
		}
	}
	payload, err := canonical(in.Payload)
	if err != nil {
		return fmt.Errorf("intend %s: payload: %w", in.ID, err)
	}
	if len(payload) > MaxPayload {
		return fmt.Errorf("intend %s: payload of %d bytes, at most %d: %w", in.ID, len(payload), MaxPayload, store.ErrTooLarge)
	}
	now := j.Clock.Now().Round(0).UTC()
	gen := j.stamp()
	r := &row{Schema: schema, Gen: gen, Rank: int64(gen), Intent: Intent{
		ID: in.ID, Kind: in.Kind, Object: in.Object, Payload: payload, NotBefore: now, Created: now, Due: now,
	}}
	switch {
	case in.Delay > 0:
		r.NotBefore, r.Wait = now.Add(in.Delay), in.Delay
		r.Due, r.Rank = r.NotBefore, r.NotBefore.UnixNano()
	case !in.NotBefore.IsZero():
		r.NotBefore = in.NotBefore.Round(0).UTC()
		r.Due, r.Rank = r.NotBefore, r.NotBefore.UnixNano()
	}
	switch old, err := getRow(tx, in.ID); {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return fmt.Errorf("intend %s: %w", in.ID, err)
	case old.Kind != in.Kind || old.Object != in.Object || !bytes.Equal(old.Payload, payload):
		return fmt.Errorf("intend %s: %w", in.ID, ErrDiffers)
	case in.NotBefore.IsZero() && in.Delay <= 0 || old.NotBefore.Equal(r.NotBefore):
		return nil
	default:
		r.Created = old.Created
	}
	return setRow(tx, r)
}

// Cancel takes an intent back and tells whether it was there. A call that runs has its context cancelled, and its result is
// not stored; whether it had an effect is the handler's to find out.
func (j *Journal) Cancel(tx store.Tx, id string) (bool, error) {
	if err := name("intent id", id, MaxID); err != nil {
		return false, err
	}
	switch _, err := tx.Get(intentPrefix + id); {
	case errors.Is(err, store.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, tx.Delete(intentPrefix + id)
}

// Hasten has an intent called at once that waits for its time, and one that is being called called once more after that. It
// is a hint, of which nothing is stored: it does nothing while Run does not run, and the intent's time stays what it was.
func (j *Journal) Hasten(id string) {
	if x := j.present.Load(); x != nil {
		x.hasten(id, j.Clock.Now().Round(0))
	}
}

// Reopen gives a dead intent new attempts, beginning now. It returns store.ErrNotFound for one that is not there, and does
// nothing to one that is not dead.
func (j *Journal) Reopen(tx store.Tx, id string) error {
	r, err := getRow(tx, id)
	if err != nil {
		return fmt.Errorf("reopen intent %.40q: %w", id, err)
	}
	if !r.Dead {
		return nil
	}
	r.Gen, r.Dead, r.Attempts, r.Wait, r.Due = j.stamp(), false, 0, 0, j.Clock.Now().Round(0).UTC()
	return setRow(tx, r)
}

// Get returns the intent of an id, or store.ErrNotFound.
func (j *Journal) Get(g store.Getter, id string) (Intent, error) {
	r, err := getRow(g, id)
	if err != nil {
		return Intent{}, err
	}
	return r.Intent, nil
}

// List returns up to limit (1 to store.MaxScan) intents, the dead among them, with ids greater than after, in their order.
func (j *Journal) List(ctx context.Context, after string, limit int) (list []Intent, err error) {
	err = j.store.View(ctx, func(at store.Snapshot) error {
		records, err := at.Scan(intentPrefix, intentPrefix+after, limit)
		for _, record := range records {
			r, err := decodeRow(record.Key, record.Value)
			if err != nil { // it is shown, so that somebody can cancel it
				id := strings.TrimPrefix(record.Key, intentPrefix)
				list = append(list, Intent{ID: id, Dead: true, LastErr: err.Error()})
				continue
			}
			list = append(list, r.Intent)
		}
		return err
	})
	return list, err
}
