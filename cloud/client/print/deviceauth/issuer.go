package deviceauth

import (
	"context"
	"errors"
	"time"

	"github.com/mfpgate/mfpgate"
)

const (
	fresh = 10 * time.Minute // for how long metadata are not asked for again
	again = time.Minute      // the same after a failure, while the old ones serve
)

// Issuer remembers the metadata of one authorization server, so that hundreds of polls do not each ask for them. It is safe for
// concurrent use: one call asks, the others wait for it.
type Issuer struct {
	client Client
	name   string
	turn   chan struct{} // holds one token; who has it may read and write what follows
	known  Metadata
	until  time.Time // known serves without asking; zero: there are none
}

// NewIssuer makes no connection.
func NewIssuer(c Client, issuer string) *Issuer {
	i := &Issuer{client: c, name: issuer, turn: make(chan struct{}, 1)}
	i.turn <- struct{}{}
	return i
}

// Metadata are those of the last ten minutes or, where the server cannot be asked, the last known. Errors are Discover's.
func (i *Issuer) Metadata(ctx context.Context) (Metadata, error) {
	select {
	case <-ctx.Done():
		return Metadata{}, ctx.Err()
	case <-i.turn:
	}
	defer func() { i.turn <- struct{}{} }()
	now := i.client.clock().Now()
	if now.Before(i.until) {
		return i.known, nil
	}
	found, err := i.client.Discover(ctx, i.name)
	switch {
	case err == nil:
		i.known, i.until = found, now.Add(fresh)
	case i.until.IsZero() || errors.Is(err, mfpgate.ErrRefused):
		return Metadata{}, err
	default:
		i.until = now.Add(again)
	}
	return i.known, nil
}
