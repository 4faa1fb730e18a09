package snmp_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/discovery/snmp"
)

// TestACallMayEndWhileItsSessionCloses: the context's end reaches for the socket that the session is closing.
func TestACallMayEndWhileItsSessionCloses(t *testing.T) {
	t.Parallel()
	at := (&agent{mib: copier("1")}).start(t, "127.0.0.1:0")
	var left atomic.Int64
	var end atomic.Pointer[context.CancelFunc]
	c := client(t, at.Port(), func(o *snmp.Options) {
		o.Timeout = 20 * time.Second // a busy machine must not take the agent for silent
		o.Sent = func() {
			if left.Add(-1) == 0 {
				(*end.Load())()
			}
		}
	})
	for i := range 400 {
		ctx, cancel := context.WithCancel(t.Context())
		end.Store(&cancel)
		left.Store(int64(i%8 + 1))
		if _, err := c.Identify(ctx, at.Addr()); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		cancel()
	}
}
