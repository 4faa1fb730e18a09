package store

import (
	"context"
	"fmt"
)

func checkKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("empty key: %w", ErrKey)
	case key[0] == '!':
		return fmt.Errorf("key %.40q: %w; keys that start with ! belong to drivers", key, ErrKey)
	case len(key) > MaxKey:
		return fmt.Errorf("key %.40q…: %d bytes, at most %d: %w", key, len(key), MaxKey, ErrTooLarge)
	}
	return nil
}

type limitedSnapshot struct {
	ctx context.Context
	s   Snapshot
}

func (l limitedSnapshot) Get(key string) ([]byte, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	return l.s.Get(key)
}

func (l limitedSnapshot) Scan(prefix, after string, limit int) ([]Record, error) {
	if limit < 1 || limit > MaxScan {
		return nil, fmt.Errorf("scan %q: limit %d is not within 1 and %d", prefix, limit, MaxScan)
	}
	if err := l.ctx.Err(); err != nil { // a long walk over pages stops here
		return nil, err
	}
	return l.s.Scan(prefix, after, limit)
}

// limitedTx holds every driver to the same limits. err keeps the first breach, which fails the Update whatever fn does.
type limitedTx struct {
	tx    Tx
	sizes map[string]int // of key and value set, by distinct key
	total int
	err   error
}

// touch accounts for key with a value of size bytes; a negative size leaves what an earlier Set counted.
func (l *limitedTx) touch(key string, size int) error {
	if l.err != nil {
		return l.err
	}
	if l.err = checkKey(key); l.err != nil {
		return l.err
	}
	old, known := l.sizes[key]
	if !known && len(l.sizes) == MaxUpdateKeys {
		l.err = fmt.Errorf("key %q is one more than the %d that an update may touch: %w", key, MaxUpdateKeys, ErrTooLarge)
		return l.err
	}
	now := max(old, len(key))
	if size >= 0 {
		now = len(key) + size
	}
	if l.total += now - old; l.total > MaxUpdate {
		l.err = fmt.Errorf("key %q brings the update to %d bytes, at most %d: %w", key, l.total, MaxUpdate, ErrTooLarge)
		return l.err
	}
	l.sizes[key] = now
	return nil
}

func (l *limitedTx) Get(key string) ([]byte, error) {
	if err := l.touch(key, -1); err != nil {
		return nil, err
	}
	return l.tx.Get(key)
}

func (l *limitedTx) Set(key string, value []byte) error {
	if l.err == nil && len(value) > MaxValue {
		l.err = fmt.Errorf("value of %.40q: %d bytes, at most %d: %w", key, len(value), MaxValue, ErrTooLarge)
	}
	if err := l.touch(key, len(value)); err != nil {
		return err
	}
	return l.tx.Set(key, append([]byte{}, value...))
}

func (l *limitedTx) Delete(key string) error {
	if err := l.touch(key, 0); err != nil {
		return err
	}
	return l.tx.Delete(key)
}
