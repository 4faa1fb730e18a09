package approval

import (
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/store"
)

const (
	limitPrefix = "limit/"
	window      = time.Hour
)

// taken is what one person had in the last hour. Each has an id, so that what is done again after a crash is not counted twice.
type taken struct {
	Entries []takenEntry `json:"entries"`
}

type takenEntry struct {
	ID string    `json:"id"`
	At time.Time `json:"at"`
}

// prune leaves what counts at now. What is said to come is of a clock that was set back.
func (t *taken) prune(now time.Time) {
	t.Entries = slices.DeleteFunc(t.Entries, func(e takenEntry) bool { return now.Sub(e.At) >= window || e.At.After(now) })
}

// limitKey takes no notice of letters' case: no mail server has two people apart by that.
func limitKey(kind, name string) string {
	return limitPrefix + kind + "/" + digest(strings.ToLower(name))
}

// take counts id, unless there are limit others in this hour; then it says when there will be room.
func (b *Broker) take(tx store.Tx, kind, name, id string, limit int) (ok bool, free time.Duration, err error) {
	key := limitKey(kind, name)
	t, _, err := optional[taken](tx, key)
	if err != nil {
		return false, 0, err
	}
	now := b.now()
	t.prune(now)
	if slices.ContainsFunc(t.Entries, func(e takenEntry) bool { return e.ID == id }) {
		return true, 0, nil
	}
	if len(t.Entries) >= limit {
		return false, max(window-now.Sub(t.Entries[0].At), time.Second), nil
	}
	t.Entries = append(t.Entries, takenEntry{ID: id, At: now})
	return true, 0, store.SetJSON(tx, key, t)
}
