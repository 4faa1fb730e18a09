package portal_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/daemon/portal"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
)

// slow are accounts whose password takes until release to compare.
type slow struct {
	release chan struct{}
	mu      sync.Mutex
	now     int
	most    int
}

func (s *slow) CheckUser(context.Context, string, mfpgate.Secret) (bool, error) {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	<-s.release
	s.mu.Lock()
	s.now--
	s.mu.Unlock()
	return true, nil
}

func (s *slow) User(_ context.Context, name string) (control.User, bool, error) {
	return control.User{Name: name, Role: control.RoleAdministrator}, true, nil
}

func TestComparingPasswordsLeavesTheRelayItsCores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := portaltest.Idle()
		accounts := &slow{release: make(chan struct{})}
		d := newDoor(t, g)
		p, err := portal.New(portal.Options{Gateway: g, Accounts: accounts, API: http.NotFoundHandler(), Clock: d.clock, Log: d.portal.Log})
		if err != nil {
			t.Fatal(err)
		}
		login := func(i int) *http.Response {
			r := httptest.NewRequestWithContext(t.Context(), "POST", "https://gate.example/login", strings.NewReader(fmt.Sprintf("name=n%d&password=x", i)))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.RemoteAddr = fmt.Sprintf("10.1.%d.1:40000", i)
			w := httptest.NewRecorder()
			p.ServeHTTP(w, r)
			return w.Result()
		}
		var wait sync.WaitGroup
		for i := range 32 {
			wait.Go(func() {
				if resp := login(i); resp.StatusCode != http.StatusSeeOther {
					t.Errorf("login %d: %s", i, resp.Status)
				}
			})
		}
		synctest.Wait()
		if resp := login(99); resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "5" {
			t.Errorf("one too many: %s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
		}
		close(accounts.release)
		wait.Wait()
		if accounts.most != 2 {
			t.Errorf("%d passwords were compared at once, want 2", accounts.most)
		}
	})
}
