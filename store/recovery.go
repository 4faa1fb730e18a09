package store

import (
	"context"
	"errors"
	"time"
)

// Recovery tells that a damaged store was set aside and what took its place. It stays in the store, through restarts, until
// somebody acknowledges it; rooms whose facts guard a person's rights must not go on by themselves while Empty.
type Recovery struct {
	At         time.Time `json:"at"`
	Cause      string    `json:"cause"`
	SetAside   string    `json:"setAside"`         // folder of the damaged store
	Backup     string    `json:"backup,omitempty"` // file that was restored
	BackupFrom time.Time `json:"backupFrom"`       // when that file was made: later facts are lost
}

// Empty reports that there was no usable backup: all facts are lost.
func (r Recovery) Empty() bool { return r.Backup == "" }

// Recovered returns the recovery that nobody has acknowledged yet, or nil.
func Recovered(ctx context.Context, s Store) (*Recovery, error) {
	var r Recovery
	err := s.View(ctx, func(snap Snapshot) error { return GetJSON(snap, recoveredKey, &r) })
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &r, nil
}

// MarkRecovered records r. Drivers call it before they hand out the store.
func MarkRecovered(ctx context.Context, s Store, r Recovery) error {
	return s.Update(ctx, func(tx Tx) error { return SetJSON(tx, recoveredKey, r) })
}

// Acknowledge ends the recovery: an administrator has seen what was lost.
func Acknowledge(ctx context.Context, s Store) error {
	return s.Update(ctx, func(tx Tx) error { return tx.Delete(recoveredKey) })
}
