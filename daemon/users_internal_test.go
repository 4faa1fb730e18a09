package daemon

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

func TestAnAccountKeepsWhatIsNotGivenAnew(t *testing.T) {
	now := time.Date(2026, time.March, 3, 5, 32, 10, 0, time.UTC)
	clock := fakeclock.New(now)
	g := gateway{&Daemon{Options: Options{Clock: clock}, shared: memory.New()}}
	t.Cleanup(func() { _ = g.shared.Close() })
	const before = `{"schema":1,"hash":"JDJhJDEyJFFIa1F5SEhXelJXcWdYc0dyZ3NHTE9aek9oNGRUcWlPa1ZrV29SRE9QczhtNFZ2UDBTeXJD","changed":"2026-02-01T00:00:00Z"}`
	if err := g.shared.Update(t.Context(), func(tx store.Tx) error { return tx.Set("user/mori", []byte(before)) }); err != nil {
		t.Fatal(err)
	}
	account := func(name string) control.User {
		t.Helper()
		u, ok, err := g.User(t.Context(), name)
		if err != nil || !ok {
			t.Fatalf("%s: %v, %v", name, ok, err)
		}
		return u
	}
	const password = mfpgate.Secret("correct horse battery")
	add := func(u control.User) error { return g.AddUser(t.Context(), u, password) }
	for _, c := range []struct {
		rule string
		add  control.User
		err  error
		want control.User
	}{
		{"a record of before is an administrator's", control.User{}, nil,
			control.User{Name: "mori", Role: control.RoleAdministrator, Changed: time.Date(2026, time.February, 1, 0, 0, 0, 0, time.UTC)}},
		{"and stays one with a new password", control.User{Name: "mori"}, nil,
			control.User{Name: "mori", Role: control.RoleAdministrator, Changed: now}},
		{"he needs an address to become a user", control.User{Name: "mori", Role: control.RoleUser}, control.ErrUser,
			control.User{Name: "mori", Role: control.RoleAdministrator, Changed: now}},
		{"with one he is; each change is later than the one before", control.User{Name: "mori", Role: control.RoleUser, Email: "mori@example.co.jp"}, nil,
			control.User{Name: "mori", Role: control.RoleUser, Email: "mori@example.co.jp", Changed: now.Add(1)}},
		{"a new password makes a user no administrator", control.User{Name: "mori"}, nil,
			control.User{Name: "mori", Role: control.RoleUser, Email: "mori@example.co.jp", Changed: now.Add(2)}},
		{"a role that is none is refused", control.User{Name: "mori", Role: "owner"}, control.ErrUser,
			control.User{Name: "mori", Role: control.RoleUser, Email: "mori@example.co.jp", Changed: now.Add(2)}},
		{"so is an address of two lines", control.User{Name: "mori", Email: "a@example.com\r\nBcc: b@example.com"}, control.ErrUser,
			control.User{Name: "mori", Role: control.RoleUser, Email: "mori@example.co.jp", Changed: now.Add(2)}},
	} {
		if c.add.Name != "" {
			if err := add(c.add); !errors.Is(err, c.err) {
				t.Errorf("%s: error %v, want %v", c.rule, err, c.err)
			}
		}
		if diff := cmp.Diff(c.want, account("mori")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.rule, diff)
		}
	}
	if right, err := g.CheckUser(t.Context(), "mori", password); err != nil || !right {
		t.Errorf("the new password: %v, %v", right, err)
	}
	if err := add(control.User{Name: "abe"}); err != nil {
		t.Fatal(err)
	}
	list, err := g.ListUsers(t.Context())
	if err != nil || len(list) != 2 || list[0].Name != "abe" || list[0].Role != control.RoleAdministrator || list[1].Name != "mori" {
		t.Errorf("list: %+v, %v", list, err)
	}
	for _, want := range []error{nil, control.ErrNoUser} {
		if err := g.RemoveUser(t.Context(), "abe"); !errors.Is(err, want) {
			t.Errorf("remove: %v, want %v", err, want)
		}
	}
	if _, ok, err := g.User(t.Context(), "abe"); ok || err != nil {
		t.Errorf("who was removed: %v, %v", ok, err)
	}
}
