package approvaltest

import (
	"context"
	"sync"

	"github.com/mfpgate/mfpgate"
)

// Mailer keeps what it is to send.
type Mailer struct {
	// Before and After are as a Service's; what they are told is the letter's id.
	Before, After func(call Call, about string) error

	mu      sync.Mutex
	fail    error
	letters []mfpgate.Letter
}

// Send implements approval.Mailer.
func (m *Mailer) Send(_ context.Context, l mfpgate.Letter) error {
	m.mu.Lock()
	before, after := m.Before, m.After
	m.mu.Unlock()
	if before != nil {
		if err := before(Send, l.ID); err != nil {
			return err
		}
	}
	m.mu.Lock()
	err := m.fail
	if err == nil {
		m.letters = append(m.letters, l)
	}
	m.mu.Unlock()
	if after != nil {
		if err := after(Send, l.ID); err != nil {
			return err
		}
	}
	return err
}

// Fail makes every letter fail, until it is called with nil.
func (m *Mailer) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

// Set changes the mailer while it is used.
func (m *Mailer) Set(fn func(*Mailer)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fn(m)
}

// Letters are those that were sent to an address, or to anybody if that is "".
func (m *Mailer) Letters(to string) (list []mfpgate.Letter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.letters {
		if to == "" || l.To == to {
			list = append(list, l)
		}
	}
	return list
}
