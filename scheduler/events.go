package scheduler

import (
	"context"
	"fmt"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry/event"
)

// listen waits for the delivery system's events until ctx ends, and makes a run of them.
func (s *Scheduler) listen(ctx context.Context) error {
	for failures := 0; ; {
		pause, roused := eventPause, (chan struct{})(nil)
		if _, why, _ := s.idle(); why != "" {
			pause, roused = lookEvery, s.roused
		} else if news, err := s.poll(ctx); ctx.Err() != nil {
			return nil
		} else if err != nil {
			pause = s.backoff(err, failures)
			if failures++; failures == 1 { // and not each of the tries
				s.Log.Warn().Err(err).Msg(event.SchedulerDeafened)
			}
		} else {
			failures = 0
			if news {
				s.job.Trigger()
			}
		}
		timer := s.Clock.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C():
		case <-roused: // what is planned in the first minute after a start is heard of at once
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// poll waits for events once. What they ask for is durable before they count as read.
func (s *Scheduler) poll(ctx context.Context) (news bool, err error) {
	st, err := s.state(ctx)
	if err != nil {
		return false, err
	}
	if st.System != s.policy().System {
		return false, nil // the next run drops what is of another system, the number of its last event too
	}
	call, cancel := context.WithTimeout(ctx, eventWait+callTimeout)
	defer cancel()
	events, next, lost, err := s.Cloud.Events(call, st.Seq, eventWait)
	if err != nil {
		return false, fmt.Errorf("wait for events: %w", err)
	}
	if next < st.Seq && !lost {
		return false, fmt.Errorf("%w: events up to %d after %d", ErrAnswer, next, st.Seq)
	}
	var requests uint64
	for _, e := range events {
		switch e.Type {
		case mfpgate.EventProposalRequest:
			requests++
			news = true
		case mfpgate.EventDeliveryChanged, mfpgate.EventProposalDecided, mfpgate.EventContractChanged, mfpgate.EventBackgroundChange:
			news = true
		}
	}
	if next == st.Seq && !lost {
		return news, nil
	}
	_, err = s.change(ctx, func(_ store.Tx, st *state) error {
		st.Seq = next
		st.Requests += min(requests, 1)
		if news || lost {
			st.Calls++
		}
		if lost {
			st.Token = ""
		}
		return nil
	})
	if err == nil && s.Notice != nil {
		for _, e := range events {
			s.Notice(e)
		}
	}
	return news || lost, err
}

// backoff is the delay after a failure: with full jitter, and no less than the error names.
func (s *Scheduler) backoff(err error, failures int) time.Duration {
	span := min(eventPause<<min(failures, 10), 5*time.Minute)
	pause := time.Second + time.Duration(s.random(int64(span)))
	return max(pause, min(mfpgate.RetryDelay(err), day))
}
