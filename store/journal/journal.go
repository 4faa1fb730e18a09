package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

var (
	// ErrDiffers is returned by Intend for an id that is in use with another kind, object or payload, and by Once for a key
	// that was used with another request.
	ErrDiffers = errors.New("the same id was used for something else")
	// ErrInvalid is returned for an id, kind, name or JSON text that is empty, too long or not well-formed.
	ErrInvalid = errors.New("not valid")
	// ErrQueueFull is returned by Append when the rows do not fit and the queue may not drop, or when they alone exceed it.
	ErrQueueFull = errors.New("queue is full")
	// ErrStreamEnded is returned by a Deliverer whose receiver has seen a later stream of the queue than the batch's: the store
	// is an old one. The queue gets a new stream, in which it sends all it has.
	ErrStreamEnded = errors.New("the receiver knows a later stream")
	// ErrRunning is returned by the second Run of a journal, or Deliver of a queue, while the first has not ended.
	ErrRunning = errors.New("runs already")
)

const (
	schema   = 1
	maxSleep = 30 * time.Second // a wall clock that was set is noticed after that
	settling = 10 * time.Second // for the result of a call that ended while Run's context did
)

// Options say what surrounds a journal.
type Options struct {
	Clock mfpgate.Clock // required
	Rand  *rand.Rand    // jitter; required. The journal guards it, so it must be the journal's alone

	Gateway, Room string // whose audit chain; both are needed by Audit only, and neither may contain a slash

	Parallel int           // handlers that run at once; 0 is 8
	Timeout  time.Duration // of one call of a handler or a delivery; 0 is 1 minute
	MinDelay time.Duration // after the first failure; 0 is 1 second
	MaxDelay time.Duration // at most, before jitter; 0 is 5 minutes

	Observe func(Event) // what happened, for log and metrics; may be nil. Called from several goroutines; must not block
}

// What is the kind of an Event.
type What string

// What happens to an intent, and to a delivery.
const (
	Done        What = "done"        // called, and the result is stored
	Retried     What = "retried"     // failed; Next says when again
	Postponed   What = "postponed"   // called to no purpose; Next says when again, which is not stored
	Died        What = "died"        // given up: a dead row
	Superseded  What = "superseded"  // cancelled or moved while it was called; the result was not stored
	Unhandled   What = "unhandled"   // nobody handles its kind; it stays
	Unreadable  What = "unreadable"  // the record is damaged or newer; it stays
	Unstored    What = "unstored"    // called, but the store did not take the result; it is called again
	Delivered   What = "delivered"   // Rows of Queue were accepted
	Undelivered What = "undelivered" // a delivery failed; Next says when again
)

// Event tells of one call.
type Event struct {
	What             What
	ID, Kind, Object string        // of an intent
	Queue            string        // of a delivery
	Rows             uint64        // accepted
	Attempts         int           // failed ones, with this
	Next             time.Time     // the next try
	Took             time.Duration // the call
	Err              error
}

// Journal is a part of a store that keeps intents, queues and an audit chain. It is safe for concurrent use.
type Journal struct {
	store store.Store
	Options

	mu       sync.Mutex // guards what follows
	handlers map[string]Handler
	queues   map[string]*Queue

	running atomic.Bool
	present atomic.Pointer[index] // while it runs
	stamped atomic.Uint64
}

// New makes a journal of a store's view. It reads nothing; Run and Deliver resume what is there.
func New(s store.Store, o Options) (*Journal, error) {
	if s == nil || o.Clock == nil || o.Rand == nil {
		return nil, fmt.Errorf("journal: a store, a clock and a source of randomness are needed: %w", ErrInvalid)
	}
	if strings.Contains(o.Gateway+o.Room, "/") || len(o.Gateway)+len(o.Room) > 256 {
		return nil, fmt.Errorf("journal: gateway %.40q, room %.40q: no slash, 256 bytes at most: %w", o.Gateway, o.Room, ErrInvalid)
	}
	if o.Parallel <= 0 {
		o.Parallel = 8
	}
	for at, value := range map[*time.Duration]time.Duration{&o.Timeout: time.Minute, &o.MinDelay: time.Second, &o.MaxDelay: 5 * time.Minute} {
		if *at <= 0 {
			*at = value
		}
	}
	if o.Observe == nil {
		o.Observe = func(Event) {}
	}
	return &Journal{store: s, Options: o, handlers: map[string]Handler{}, queues: map[string]*Queue{}}, nil
}

// permanent marks an error after which another try makes no sense.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Permanent makes a handler's error the last: its intent becomes a dead row, its Deliver ends. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

// later names the delay that the other side asked for.
type later struct {
	error
	delay time.Duration
}

func (l later) Unwrap() error { return l.error }

// RetryAfter makes delay (0 or more; as in HTTP's Retry-After) the time to the next try, instead of the back-off.
func RetryAfter(err error, delay time.Duration) error {
	if err == nil {
		return nil
	}
	return later{err, max(0, delay)}
}

// again has an intent called once more, and nothing stored.
type again struct{ delay time.Duration }

func (a again) Error() string { return fmt.Sprintf("again in %s", a.delay) }

// Again, as a handler's error without settle, has the intent called once more after delay (0 or more), and stores nothing of
// it: that is for a question that brought nothing, asked often. It counts as no attempt. After a restart the call is when the
// record says, as a rule at once.
func Again(delay time.Duration) error { return again{max(0, delay)} }

// delay is the time to wait after so many failures, the last of them err: half of it is sure, half is jitter.
func (j *Journal) delay(failures int, err error) time.Duration {
	var l later
	if errors.As(err, &l) {
		return l.delay
	}
	d := j.MinDelay
	for range failures - 1 {
		if d >= j.MaxDelay {
			break
		}
		d *= 2
	}
	d = min(d, j.MaxDelay)
	j.mu.Lock()
	defer j.mu.Unlock()
	return d/2 + time.Duration(j.Rand.Int64N(int64(d/2)+1))
}

// stamp is a number that grows: the wall time in nanoseconds, as far as that does.
func (j *Journal) stamp() uint64 {
	for {
		last := j.stamped.Load()
		next := max(last+1, uint64(max(0, j.Clock.Now().UnixNano())))
		if j.stamped.CompareAndSwap(last, next) {
			return next
		}
	}
}

// stampAfter makes later stamps greater than seen.
func (j *Journal) stampAfter(seen uint64) {
	for last := j.stamped.Load(); last < seen && !j.stamped.CompareAndSwap(last, seen); last = j.stamped.Load() {
	}
}

// readAgain is how often an Update is run whose outcome is unknown.
const readAgain = 4

// update runs fn, which finds out by what it reads whether it has been committed before, again while the outcome is unknown;
// unknown tells that it was once. Should it stay unknown, the next call finds out.
func (j *Journal) update(ctx context.Context, fn func(store.Tx) error) (unknown bool, err error) {
	for range readAgain {
		if err = j.store.Update(ctx, fn); !errors.Is(err, store.ErrUnknown) {
			break
		}
		unknown = true
	}
	return unknown, err
}

// canonical is a JSON text as it stands in a record: without white space, with HTML escaped. None is null.
func canonical(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 {
		return json.RawMessage("null"), nil
	}
	text, err := json.Marshal(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if !utf8.Valid(text) {
		text = bytes.ToValidUTF8(text, []byte("\uFFFD")) // as a reader of the record would see it
	}
	return text, nil
}

// name checks what becomes a part of a key.
func name(what, text string, limit int) error {
	if text == "" || len(text) > limit || !utf8.ValidString(text) {
		return fmt.Errorf("%s %.40q: 1 to %d bytes of UTF-8: %w", what, text, limit, ErrInvalid)
	}
	return nil
}

// decode reads a record of ours. check says what would break whoever uses it.
func decode[T any](key string, data []byte, version func(*T) int, check func(*T) bool) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(data, v); err != nil {
		return nil, fmt.Errorf("record %q: %w: %w", key, store.ErrDamaged, err)
	}
	if n := version(v); n > schema {
		return nil, fmt.Errorf("record %q: schema %d: %w", key, n, store.ErrNewerSchema)
	}
	if version(v) < 1 || !check(v) {
		return nil, fmt.Errorf("record %q: %w", key, store.ErrDamaged)
	}
	return v, nil
}
