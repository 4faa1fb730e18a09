package mfpgate

import (
	"crypto/subtle"
	"errors"
	"fmt"
)

// Secret is a password, token or key. Every way of printing it says "redacted"; only Reveal gives the text.
type Secret string

const redacted = "redacted"

// Reveal returns the secret itself, for the one call that needs it.
func (s Secret) Reveal() string { return string(s) }

// Equal compares in constant time.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s), []byte(other)) == 1
}

// String returns "redacted".
func (Secret) String() string { return redacted }

// Format writes "redacted" for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText returns "redacted", so that no encoder writes a secret.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText refuses: a secret is read from a file or a credential, never from a document.
func (*Secret) UnmarshalText([]byte) error {
	return errors.New("a secret cannot be read from a document; name a file or a credential")
}
