package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

const (
	followAgain = 2 * time.Second
	// followTries is how often in a row a stream may not be had: a daemon that is restarted comes back sooner.
	followTries = 30
)

// following is how to tell what becomes of a thing.
type following[T any] struct {
	progress func(T) string
	since    func(T) string // the time of day
	ended    func(T) bool
}

// follow prints what a thing becomes, unless its JSON is wanted, and returns it when it has ended.
func follow[T any](ctx context.Context, r *remote, path string, f following[T]) (T, error) {
	client := control.Client(r.path())
	client.Timeout = 0 // it lasts as long as people think
	var last T
	said := ""
	for failures, seen := 0, false; ; failures++ {
		resp, err := r.open(ctx, client, http.MethodGet, path, nil, nil)
		if err == nil {
			failures = 0
			err = control.Follow(resp.Body, func(now T) bool {
				if text := f.progress(now); !*r.json && text != said {
					fmt.Fprintf(r.process.out, "%s  %s\n", f.since(now), clean(text))
					said = text
				}
				last, seen = now, true
				return !f.ended(now)
			})
			_ = resp.Body.Close()
			if err == nil {
				return last, nil
			}
		}
		if e, ok := errors.AsType[*exit](err); ok && (e.code != unreachable || failures >= followTries || !seen) {
			return last, err
		}
		if err := mfpgate.Wait(ctx, r.process.clock, followAgain); err != nil {
			return last, &exit{refused, err}
		}
	}
}

// timeOfDay is the local time of day.
func timeOfDay(t time.Time) string { return t.Local().Format(time.TimeOnly) }
