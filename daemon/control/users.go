package control

import (
	"context"
	"errors"
	"time"

	"github.com/mfpgate/mfpgate"
)

var (
	// ErrUser is returned by Gateway.AddUser for an account that cannot be made as asked; its text says why.
	ErrUser = errors.New("user refused")
	// ErrNoUser is returned for a name that no portal account has.
	ErrNoUser = errors.New("there is no such portal account")
)

// Role is what a portal account may do.
type Role string

// The roles. An administrator sees and does everything; a user asks for registrations and sees those for his address.
const (
	RoleAdministrator Role = "administrator"
	RoleUser          Role = "user"
)

// User is a portal account.
type User struct {
	Name    string    `json:"name"`
	Email   string    `json:"email" doc:"Empty for an administrator who has given none"`
	Role    Role      `json:"role" enum:"administrator,user"`
	Changed time.Time `json:"changed,omitzero" doc:"When the account was made or last given a password: logins before that have ended"`
}

// Users is what the running daemon can be asked and told of portal accounts. Every change is durable when its call returns.
type Users interface {
	// AddUser makes a portal account, or gives one a new password. An empty role or address stays as it was; that of a new account
	// is an administrator without one. A user must have an address. ErrUser.
	AddUser(ctx context.Context, u User, password mfpgate.Secret) error
	// ListUsers are all of them, by name.
	ListUsers(context.Context) ([]User, error)
	// RemoveUser ends an account and its logins. ErrNoUser.
	RemoveUser(ctx context.Context, name string) error
}
