package daemon

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/store"
)

// user is what is stored of a portal account, under "user/" and its name.
type user struct {
	Schema  int       `json:"schema"`
	Hash    []byte    `json:"hash"` // bcrypt
	Changed time.Time `json:"changed"`
}

const (
	userPrefix  = "user/"
	userSchema  = 1
	minPassword = 10 // characters
	maxPassword = 72 // bytes, all that bcrypt looks at
)

var userName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// noUser is compared with where there is no account, so that the time taken does not tell which names exist.
var noUser = []byte("$2a$12$QHkQyHHWzRWqgXsGrgsGLOZzOh4dTqiOkVkWoRDOPs8m4VvP0SyrC")

// AddUser makes a portal account or gives it a new password.
func (g gateway) AddUser(ctx context.Context, name string, password mfpgate.Secret) error {
	switch {
	case !userName.MatchString(name):
		return fmt.Errorf("%w: a name has 1 to 64 of a-z, 0-9, dot, dash and underscore, the first a letter or digit", control.ErrUser)
	case len([]rune(password.Reveal())) < minPassword:
		return fmt.Errorf("%w: the password must have at least %d characters", control.ErrUser, minPassword)
	case len(password.Reveal()) > maxPassword:
		return fmt.Errorf("%w: the password must have at most %d bytes", control.ErrUser, maxPassword)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password.Reveal()), 12)
	if err != nil {
		return err
	}
	return g.shared.Update(ctx, func(tx store.Tx) error {
		return store.SetJSON(tx, userPrefix+name, user{Schema: userSchema, Hash: hash, Changed: g.Clock.Now().UTC()})
	})
}

// CheckUser reports whether name is a portal account with this password.
func (g gateway) CheckUser(ctx context.Context, name string, password mfpgate.Secret) (bool, error) {
	var u user
	err := g.shared.View(ctx, func(s store.Snapshot) error { return store.GetJSON(s, userPrefix+name, &u) })
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTooLarge) || errors.Is(err, store.ErrKey) {
		u.Hash, err = noUser, nil
	}
	if err != nil {
		return false, err
	}
	return bcrypt.CompareHashAndPassword(u.Hash, []byte(password.Reveal())) == nil, nil
}
