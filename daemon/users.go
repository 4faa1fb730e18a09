package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/store"
)

// user is what is stored of a portal account, under "user/" and its name. One of schema 1 has no role: it is an administrator's.
type user struct {
	Schema  int          `json:"schema"`
	Hash    []byte       `json:"hash"` // bcrypt
	Email   string       `json:"email"`
	Role    control.Role `json:"role"`
	Changed time.Time    `json:"changed"`
}

func (u user) account(name string) control.User {
	if u.Schema < 2 {
		u.Role = control.RoleAdministrator
	}
	return control.User{Name: name, Email: u.Email, Role: u.Role, Changed: u.Changed}
}

const (
	userPrefix  = "user/"
	userSchema  = 2
	minPassword = 10 // characters
	maxPassword = 72 // bytes, all that bcrypt looks at
)

var userName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// noUser is compared with where there is no account, so that the time taken does not tell which names exist.
var noUser = []byte("$2a$12$QHkQyHHWzRWqgXsGrgsGLOZzOh4dTqiOkVkWoRDOPs8m4VvP0SyrC")

// AddUser makes a portal account or gives it a new password.
func (g gateway) AddUser(ctx context.Context, asked control.User, password mfpgate.Secret) error {
	switch {
	case !userName.MatchString(asked.Name):
		return fmt.Errorf("%w: a name has 1 to 64 of a-z, 0-9, dot, dash and underscore, the first a letter or digit", control.ErrUser)
	case len([]rune(password.Reveal())) < minPassword:
		return fmt.Errorf("%w: the password must have at least %d characters", control.ErrUser, minPassword)
	case len(password.Reveal()) > maxPassword:
		return fmt.Errorf("%w: the password must have at most %d bytes", control.ErrUser, maxPassword)
	case asked.Email != "" && !isMailAddress(asked.Email):
		return fmt.Errorf("%w: the mail address must be like name@example.com, in ASCII and without a display name", control.ErrUser)
	case asked.Role != "" && asked.Role != control.RoleAdministrator && asked.Role != control.RoleUser:
		return fmt.Errorf("%w: the role must be %s or %s", control.ErrUser, control.RoleAdministrator, control.RoleUser)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password.Reveal()), 12)
	if err != nil {
		return err
	}
	now := g.Clock.Now().UTC()
	return g.shared.Update(ctx, func(tx store.Tx) error {
		var old user
		if err := store.GetJSON(tx, userPrefix+asked.Name, &old); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		was := old.account(asked.Name)
		next := user{Schema: userSchema, Hash: hash, Changed: now, Email: cmp.Or(asked.Email, was.Email), Role: cmp.Or(asked.Role, was.Role)}
		if next.Role == control.RoleUser && next.Email == "" {
			return fmt.Errorf("%w: a user must have a mail address, for which he asks", control.ErrUser)
		}
		if !now.After(old.Changed) { // logins from before must end, whatever the clock does
			next.Changed = old.Changed.Add(1)
		}
		return store.SetJSON(tx, userPrefix+asked.Name, next)
	})
}

func isMailAddress(text string) bool {
	_, err := mfpgate.MailAddress(text)
	return err == nil
}

// ListUsers implements control.Gateway.
func (g gateway) ListUsers(ctx context.Context) (list []control.User, err error) {
	err = g.shared.View(ctx, func(s store.Snapshot) error {
		list = nil
		for record, err := range store.All(s, userPrefix) {
			if err != nil {
				return err
			}
			name := strings.TrimPrefix(record.Key, userPrefix)
			var u user
			if err := store.GetJSON(s, record.Key, &u); err != nil {
				return err
			}
			list = append(list, u.account(name))
		}
		return nil
	})
	return list, err
}

// RemoveUser implements control.Gateway.
func (g gateway) RemoveUser(ctx context.Context, name string) error {
	if !userName.MatchString(name) {
		return control.ErrNoUser
	}
	return g.shared.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Get(userPrefix + name); errors.Is(err, store.ErrNotFound) {
			return control.ErrNoUser
		} else if err != nil {
			return err
		}
		return tx.Delete(userPrefix + name)
	})
}

// User implements portal.Accounts.
func (g gateway) User(ctx context.Context, name string) (control.User, bool, error) {
	u, found, err := g.storedUser(ctx, name)
	if err != nil || !found {
		return control.User{}, false, err
	}
	return u.account(name), true, nil
}

func (g gateway) storedUser(ctx context.Context, name string) (u user, found bool, err error) {
	err = g.shared.View(ctx, func(s store.Snapshot) error { return store.GetJSON(s, userPrefix+name, &u) })
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTooLarge) || errors.Is(err, store.ErrKey) {
		return user{}, false, nil
	}
	return u, err == nil, err
}

// CheckUser reports whether name is a portal account with this password.
func (g gateway) CheckUser(ctx context.Context, name string, password mfpgate.Secret) (bool, error) {
	u, found, err := g.storedUser(ctx, name)
	if err != nil {
		return false, err
	}
	if !found {
		u.Hash = noUser
	}
	return bcrypt.CompareHashAndPassword(u.Hash, []byte(password.Reveal())) == nil, nil
}
