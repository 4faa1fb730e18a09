package servertest

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
)

// Mailbox takes a region's letters.
type Mailbox struct {
	mu      sync.Mutex
	letters []mfpgate.Letter
	came    chan struct{} // is closed and replaced when a letter comes
}

func newMailbox() *Mailbox { return &Mailbox{came: make(chan struct{})} }

// Send keeps a letter; the same again is one.
func (m *Mailbox) Send(_ context.Context, l mfpgate.Letter) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.ContainsFunc(m.letters, func(have mfpgate.Letter) bool { return have.ID == l.ID }) {
		return nil
	}
	m.letters = append(m.letters, l)
	close(m.came)
	m.came = make(chan struct{})
	return nil
}

// Letters are those that came, in their order.
func (m *Mailbox) Letters() []mfpgate.Letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.letters)
}

// Await waits for n letters.
func (m *Mailbox) Await(t testing.TB, n int) []mfpgate.Letter {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		m.mu.Lock()
		have, came := slices.Clone(m.letters), m.came
		m.mu.Unlock()
		if len(have) >= n {
			return have
		}
		select {
		case <-came:
		case <-ctx.Done():
			t.Fatalf("%d letters came, want %d", len(have), n)
		}
	}
}

// Decide is an administrator who types a code and says yes for these users, or no to all with none. It returns the status and the
// page of the answer.
func (r *Region) Decide(t testing.TB, administrator string, password mfpgate.Secret, code string, users ...string) (int, string) {
	t.Helper()
	form := url.Values{"code": {code}, "do": {"approve"}, "user": users}
	if len(users) == 0 {
		form = url.Values{"code": {code}, "do": {"deny"}}
	}
	return r.Form(t, administrator, password, "/device/decision", form)
}

// Form sends a form of the print service's pages as a browser on the page would, and returns the status and the page of the answer.
func (r *Region) Form(t testing.TB, administrator string, password mfpgate.Secret, path string, form url.Values) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL+path, strings.NewReader(form.Encode()))
	Must(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	if administrator != "" {
		req.SetBasicAuth(administrator, password.Reveal())
	}
	client := r.HTTP(t)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.Do(req)
	Must(t, err)
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	Must(t, err)
	return res.StatusCode, string(page)
}
