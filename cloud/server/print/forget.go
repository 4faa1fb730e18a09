package print

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

// kindForget is the timer of a record that is over: a code, a token, an operation.
const kindForget = "forget"

// forgetting is the payload of a kindForget: a key.
func forgetting(key string) json.RawMessage {
	text, _ := json.Marshal(key) // a string can be written
	return text
}

// forget removes a record with its indexes.
func (s *Service) forget(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
	var key string
	if err := json.Unmarshal(in.Payload, &key); err != nil {
		return nil, journal.Permanent(err)
	}
	var c codeRecord
	err := s.Store.View(ctx, func(at store.Snapshot) (err error) {
		c, _, err = get[codeRecord](at, key)
		return err
	})
	if err != nil {
		return nil, err
	}
	if key != codeKey(c.Hash) { // of another kind: it has no index
		return func(tx store.Tx) error { return tx.Delete(key) }, nil
	}
	if until := c.Expires.Add(remembered); c.State != codePending && s.Clock.Now().Before(until) {
		return func(tx store.Tx) error {
			return s.journal.Intend(tx, journal.Intent{ID: in.ID, Kind: kindForget, NotBefore: until, Payload: in.Payload})
		}, nil
	}
	s.polls.drop(c.Hash)
	s.opening.Lock()
	if s.known > 0 {
		s.known--
	}
	s.opening.Unlock()
	return func(tx store.Tx) error {
		return errors.Join(tx.Delete(key), tx.Delete(userCodeKey(c.User)), tx.Delete(fromKey(c)))
	}, nil
}
