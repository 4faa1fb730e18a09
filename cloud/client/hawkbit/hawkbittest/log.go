package hawkbittest

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/mfpgate/mfpgate/cloud/client/hawkbit"
)

// ErrCrash is what a Log answers when its hooks say so.
var ErrCrash = errors.New("crashed for a test")

// Log is a hawkbit.Log in memory, which outlives the clients that use it. Rows go through JSON, as a store's do.
type Log struct {
	// Before and After say whether a write is to fail, without and with its effect.
	Before, After func() bool

	mu   sync.Mutex
	rows map[string][]byte
}

func (l *Log) write(set func()) error {
	if l.Before != nil && l.Before() {
		return ErrCrash
	}
	l.mu.Lock()
	if l.rows == nil {
		l.rows = map[string][]byte{}
	}
	set()
	l.mu.Unlock()
	if l.After != nil && l.After() {
		return ErrCrash
	}
	return nil
}

// Intend writes a row.
func (l *Log) Intend(_ context.Context, row hawkbit.Intent) error {
	text, err := json.Marshal(row)
	if err != nil {
		return err
	}
	return l.write(func() { l.rows[row.Delivery] = text })
}

// Done removes a row.
func (l *Log) Done(_ context.Context, delivery string) error {
	return l.write(func() { delete(l.rows, delivery) })
}

// Pending returns all rows.
func (l *Log) Pending(context.Context) ([]hawkbit.Intent, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []hawkbit.Intent
	for _, text := range l.rows {
		var row hawkbit.Intent
		if err := json.Unmarshal(text, &row); err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, nil
}
