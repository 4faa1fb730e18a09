// Package jws signs documents and checks signatures: JSON Web Signature (RFC 7515) in its compact form, with EdDSA over Ed25519
// (RFC 8037) alone.
//
// It promises that a document that Open returns was signed with one of the given keys for exactly this purpose: the header "typ" says
// what a document is for, so that one that was signed for something else opens nothing. It refuses every other algorithm, "none" among
// them, keys that a document brings along, and texts over MaxText.
package jws

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// MaxText bounds a signed document, in bytes.
const MaxText = 64 << 10

// ErrSignature is returned for a text that is no document signed by one of the keys for the purpose asked for.
var ErrSignature = errors.New("not signed by a key that is trusted for this")

// ErrKey is returned for text that is no public key as EncodeKey writes it.
var ErrKey = errors.New("public key: must be the base64 text that `mfpcloud key` prints")

// EncodeKey writes a public key as people and documents have it: base64 (RFC 4648 §4) of its 32 bytes.
func EncodeKey(key ed25519.PublicKey) string { return base64.StdEncoding.EncodeToString(key) }

// ParseKey reads what EncodeKey wrote. ErrKey.
func ParseKey(text string) (ed25519.PublicKey, error) {
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, ErrKey
	}
	return key, nil
}

// KeyID names a public key: the first 16 characters of its SHA-256 in base64url. It stands in the header "kid".
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return base64.RawURLEncoding.EncodeToString(sum[:])[:16]
}

// Sign returns a value's JSON text, signed for a purpose, such as "directive".
func Sign(key ed25519.PrivateKey, purpose string, value any) (string, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return "", errors.New("not an Ed25519 key")
	}
	o := (&jose.SignerOptions{}).WithType(jose.ContentType(purpose)).WithHeader("kid", KeyID(public))
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key}, o)
	if err != nil {
		return "", fmt.Errorf("sign a %s: %w", purpose, err)
	}
	signed, err := signer.Sign(text)
	if err != nil {
		return "", fmt.Errorf("sign a %s: %w", purpose, err)
	}
	return signed.CompactSerialize()
}

// Open reads a document that Sign made for the same purpose with one of the keys. ErrSignature for every other text.
func Open(keys []ed25519.PublicKey, purpose, signed string, into any) error {
	if len(signed) > MaxText {
		return fmt.Errorf("%w: longer than %d bytes", ErrSignature, MaxText)
	}
	parsed, err := jose.ParseSignedCompact(signed, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return fmt.Errorf("%w: %v", ErrSignature, err)
	}
	header := parsed.Signatures[0].Protected
	if header.ExtraHeaders[jose.HeaderType] != purpose {
		return fmt.Errorf("%w: it is no %s", ErrSignature, purpose)
	}
	for _, key := range keys {
		if header.KeyID != KeyID(key) {
			continue
		}
		text, err := parsed.Verify(key)
		if err != nil {
			break
		}
		if err := json.Unmarshal(text, into); err != nil {
			return fmt.Errorf("read a signed %s: %w", purpose, err)
		}
		return nil
	}
	return ErrSignature
}
