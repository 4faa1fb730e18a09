package mfpgate

import (
	"crypto/rand"

	"github.com/oklog/ulid/v2"
)

// NewID returns a new id of one kind: the prefix ("dev", "mov", "job"), an underscore and a ULID of clock's time.
func NewID(clock Clock, prefix string) string {
	return prefix + "_" + ulid.MustNew(ulid.Timestamp(clock.Now()), rand.Reader).String()
}
