package account

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"runtime"
	"strings"
	"sync"

	"github.com/mfpgate/mfpgate"
	"golang.org/x/crypto/bcrypt"
)

// remembered is how many verified and how many refused credentials a File keeps, at about 100 bytes each.
const remembered = 4096

// hash is a bcrypt hash. Like a secret it is not to be printed.
type hash string

// File is the accounts of one htpasswd file. It is safe for concurrent use.
type File struct {
	accounts map[string]hash
	nobody   hash     // checked for users that do not exist
	key      [32]byte // of this process, so that what the caches hold is worthless outside
	slots    chan struct{}
	good     cache
	bad      cache
}

func newFile(accounts map[string]hash) *File {
	f := &File{
		accounts: accounts,
		good:     cache{limit: remembered, set: map[digest]struct{}{}},
		bad:      cache{limit: remembered, set: map[digest]struct{}{}},
		// Half of the processors at most: the other half goes on relaying while passwords are guessed.
		slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
	_, _ = rand.Read(f.key[:]) // never fails
	cost := bcrypt.DefaultCost
	for _, h := range accounts {
		if c, err := bcrypt.Cost([]byte(h)); err == nil && (f.nobody == "" || c > cost) {
			cost = c
			f.nobody = h
		}
	}
	// Only the work matters, not the answer: an unknown user is compared with the dearest hash there is.
	if f.nobody == "" {
		f.nobody = hash("$2a$10$" + strings.Repeat(".", 22+31))
	}
	return f
}

// Len returns the number of accounts.
func (f *File) Len() int { return len(f.accounts) }

// Remembered reports whether Verify has accepted just this before and still knows, at the cost of one HMAC. The relay asks
// it before its Limiter, so that devices that share an address with one that guesses are not locked out.
func (f *File) Remembered(user string, password mfpgate.Secret) bool {
	return f.good.has(f.digest(user, password))
}

// Verify reports whether user has that password. It takes as long for an unknown user as for a wrong password, if all
// hashes have one cost. It waits while others are verified, and returns ctx's error if that ends first; the number of those
// who wait is for the caller to bound. As every bcrypt does, it looks at the first 72 bytes of the password.
func (f *File) Verify(ctx context.Context, user string, password mfpgate.Secret) (bool, error) {
	d := f.digest(user, password)
	if f.good.has(d) {
		return true, nil
	}
	if f.bad.has(d) {
		return false, nil
	}
	select {
	case f.slots <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-f.slots }()
	// A device opens many connections at once; the first of them has the answer for those that waited.
	if f.good.has(d) {
		return true, nil
	}
	if f.bad.has(d) {
		return false, nil
	}
	h, known := f.accounts[user]
	if !known {
		h = f.nobody
	}
	err := bcrypt.CompareHashAndPassword([]byte(h), []byte(password.Reveal()))
	if err == nil && known {
		f.good.add(d)
		return true, nil
	}
	f.bad.add(d)
	return false, nil
}

type digest [sha256.Size]byte

func (f *File) digest(user string, password mfpgate.Secret) (d digest) {
	mac := hmac.New(sha256.New, f.key[:])
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], uint32(len(user)))
	mac.Write(n[:])
	mac.Write([]byte(user))
	mac.Write([]byte(password.Reveal()))
	mac.Sum(d[:0])
	return d
}

// cache is a set of at most limit digests; the oldest makes room.
type cache struct {
	limit int

	mu   sync.Mutex
	set  map[digest]struct{}
	ring []digest // by age, from next on
	next int
}

func (c *cache) has(d digest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.set[d]
	return ok
}

func (c *cache) add(d digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.set[d]; ok {
		return
	}
	c.set[d] = struct{}{}
	if len(c.ring) < c.limit {
		c.ring = append(c.ring, d)
		return
	}
	delete(c.set, c.ring[c.next])
	c.ring[c.next] = d
	c.next = (c.next + 1) % c.limit
}
