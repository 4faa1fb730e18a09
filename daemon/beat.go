package daemon

import (
	"context"
	"iter"
	"time"

	"github.com/mfpgate/mfpgate"
)

// heartbeat is how long a reader of changes hears nothing at most, so that it finds out who has gone.
const heartbeat = 15 * time.Second

// beating yields what changes does, and the zero id after each heartbeat in which it yields nothing.
func beating[T ~string](ctx context.Context, clock mfpgate.Clock, changes func(context.Context) iter.Seq[T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		ctx, cancel := context.WithCancel(ctx)
		heard, ended := make(chan T), make(chan struct{})
		defer func() { cancel(); <-ended }()
		go func() { // ends with ctx, for which the deferred function waits
			defer close(ended)
			for id := range changes(ctx) {
				select {
				case heard <- id:
				case <-ctx.Done():
					return
				}
			}
		}()
		for {
			beat, id := clock.NewTimer(heartbeat), T("")
			select {
			case id = <-heard:
			case <-beat.C():
			case <-ended:
				beat.Stop()
				return
			}
			beat.Stop()
			if !yield(id) {
				return
			}
		}
	}
}
