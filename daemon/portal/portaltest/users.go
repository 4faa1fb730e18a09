package portaltest

import (
	"context"
	"maps"
	"slices"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// AddUser implements control.Gateway.
func (g *Gateway) AddUser(_ context.Context, u control.User, password mfpgate.Secret) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.Users[u.Name] = password
	if g.AccountsAre == nil {
		g.AccountsAre = map[string]control.User{}
	}
	u.Changed = g.AccountsAre[u.Name].Changed.Add(1)
	g.AccountsAre[u.Name] = u
	return nil
}

// ListUsers implements control.Gateway.
func (g *Gateway) ListUsers(context.Context) (list []control.User, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(g.Users)) {
		list = append(list, g.account(name))
	}
	return list, nil
}

// RemoveUser implements control.Gateway.
func (g *Gateway) RemoveUser(_ context.Context, name string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.Users[name]; !ok {
		return control.ErrNoUser
	}
	delete(g.Users, name)
	return nil
}

// User implements portal.Accounts.
func (g *Gateway) User(_ context.Context, name string) (control.User, bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.Users[name]
	return g.account(name), ok, g.CheckFails
}

// SetAccount says what an account is from now on.
func (g *Gateway) SetAccount(name string, u control.User) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.AccountsAre[name] = u
}

func (g *Gateway) account(name string) control.User {
	u := g.AccountsAre[name]
	u.Name = name
	if u.Role == "" {
		u.Role = control.RoleAdministrator
	}
	return u
}

// CheckUser implements portal.Accounts.
func (g *Gateway) CheckUser(_ context.Context, name string, password mfpgate.Secret) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	want, ok := g.Users[name]
	return ok && want.Equal(password), g.CheckFails
}
