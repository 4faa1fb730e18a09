// Package seal keeps secrets that a program needs again from being readable in its store: AES-256-GCM (NIST SP 800-38D), with keys
// derived from one key that lies elsewhere, a systemd credential as a rule.
//
// A sealed text opens only in the context that it was sealed for, such as the record's key and the field: a copy elsewhere is
// ErrSealed, as is one that was changed or was sealed with another key. What is only to be compared is better kept as a MAC.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mfpgate/mfpgate"
)

// KeySize is the length of a key, in bytes.
const KeySize = 32

// ErrSealed is returned by Open for what this key has not sealed in this context.
var ErrSealed = errors.New("sealed with another key, for another place, or damaged")

// Sealer seals with one key. It is safe for concurrent use.
type Sealer struct {
	aead cipher.AEAD
	mac  []byte
}

// version is the first byte of what is sealed, so that another way can follow.
const version = 1

// New derives the keys of a Sealer.
func New(key []byte) (*Sealer, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("the key that seals secrets has %d bytes, must have %d", len(key), KeySize)
	}
	sealing, err := hkdf.Key(sha256.New, key, nil, "mfpgate seal 1", KeySize)
	if err != nil {
		return nil, err
	}
	mac, err := hkdf.Key(sha256.New, key, nil, "mfpgate mac 1", KeySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(sealing)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &Sealer{aead, mac}, nil
}

// Seal returns the secret so that only Open with the same context reads it. It is 29 bytes longer than the secret.
func (s *Sealer) Seal(context string, secret mfpgate.Secret) []byte {
	return s.aead.Seal([]byte{version}, nil, []byte(secret.Reveal()), []byte(context))
}

// Open returns what was sealed, or ErrSealed.
func (s *Sealer) Open(context string, sealed []byte) (mfpgate.Secret, error) {
	if len(sealed) == 0 || sealed[0] != version {
		return "", ErrSealed
	}
	text, err := s.aead.Open(nil, nil, sealed[1:], []byte(context))
	if err != nil {
		return "", ErrSealed
	}
	return mfpgate.Secret(text), nil
}

// MAC is the HMAC-SHA256 of text in a context: equal for equal texts, and telling nothing else without the key.
func (s *Sealer) MAC(context, text string) []byte {
	h := hmac.New(sha256.New, s.mac)
	fmt.Fprintf(h, "%d:%s%s", len(context), context, text)
	return h.Sum(nil)
}

// OpenKey reads the key in a file, which it makes, for its owner alone, if it is not there. The key is on disk when it returns. One that
// everybody on the machine may read seals nothing, and is refused.
func OpenKey(path string) ([]byte, error) {
	key, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, KeySize)
		rand.Read(key)
		err = create(path, key)
	}
	if err == nil && len(key) != KeySize {
		err = fmt.Errorf("%s has %d bytes or more, must have %d: put the right file back, or remove it, and with it all that it sealed", path, len(key), KeySize)
	}
	if err != nil {
		return nil, fmt.Errorf("key that seals secrets: %w", err)
	}
	return key, nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file; put the right file back", path)
	case info.Mode().Perm()&0o006 != 0:
		return nil, fmt.Errorf("%s may be read or written by everybody on this machine; run chmod 600 on it", path)
	}
	return io.ReadAll(io.LimitReader(f, KeySize+1))
}

// create writes a file whole or not at all, and keeps one that is there.
func create(path string, content []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".seal-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil { // unlike a rename it takes nobody's place
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
