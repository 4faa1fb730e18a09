package scheduler

import (
	"encoding/json"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mfpgate/mfpgate"
)

// The bounds of an answer's parts, of texts in characters. They hold whatever stands behind the port. None is tighter than the
// wire's own, so that what the client took is not refused here, but for versions and tokens: reports and proposals name them.
const (
	maxID        = 64
	maxText      = 1024
	maxToken     = 256 // bytes
	maxBlackouts = 64
	maxDuration  = 24 * 24 * time.Hour
	maxRetries   = 100
)

// checkChanges says what is wrong with an answer, wrapping ErrAnswer. It makes the times of a good one UTC.
func checkChanges(c *mfpgate.ScheduleChanges, known int) error {
	if c.Token == "" || len(c.Token) > maxToken {
		return fmt.Errorf("%w: a token of %d bytes, want 1 to %d", ErrAnswer, len(c.Token), maxToken)
	}
	if len(c.Deliveries) > MaxDeliveries || !c.Whole && known+len(c.Deliveries) > 2*MaxDeliveries {
		return fmt.Errorf("%w: %d deliveries, at most %d", ErrAnswer, len(c.Deliveries), MaxDeliveries)
	}
	seen := make(map[string]bool, len(c.Deliveries))
	for i := range c.Deliveries {
		d := &c.Deliveries[i]
		if err := checkDelivery(d); err != nil {
			return fmt.Errorf("%w: delivery %d (%.70q): %w", ErrAnswer, i+1, d.ID, err)
		}
		if seen[d.ID] {
			return fmt.Errorf("%w: delivery %q is there twice", ErrAnswer, d.ID)
		}
		seen[d.ID] = true
	}
	for _, id := range c.Removed {
		if seen[id] {
			return fmt.Errorf("%w: delivery %.70q is both there and removed", ErrAnswer, id)
		}
		if err := word("an id", id, 1, maxID); err != nil {
			return fmt.Errorf("%w: removed: %w", ErrAnswer, err)
		}
	}
	return nil
}

func checkDelivery(d *mfpgate.Delivery) error {
	for _, err := range []error{
		word("an id", d.ID, 1, maxID), word("a device", string(d.Device), 1, maxID), word("a gateway", d.Via, 0, maxID),
		word("a batch", d.Batch, 0, maxID), word("a version", d.Version, 1, 256), word("a kind", d.Kind, 0, maxID),
		word("a model", d.Model, 0, maxText), word("a package", d.Package, 0, maxText), word("a package version", d.PackageVersion, 0, maxText),
		word("a reason", d.PinnedReason, 0, maxText), checkSchedule(&d.Schedule),
	} {
		if err != nil {
			return err
		}
	}
	switch d.State {
	case mfpgate.DeliveryPlanned, mfpgate.DeliveryRunning, mfpgate.DeliveryDone, mfpgate.DeliveryFailed, mfpgate.DeliveryCancelled:
	default:
		return fmt.Errorf("state %.20q", d.State)
	}
	switch {
	case d.Schedule.Start.IsZero() && d.Schedule.Local == "":
		return fmt.Errorf("no start")
	case d.Duration.P50 < 0 || d.Duration.P95 < 0 || max(d.Duration.P50, d.Duration.P95) > maxDuration:
		return fmt.Errorf("durations %v and %v: 0 to %v", d.Duration.P50, d.Duration.P95, maxDuration)
	case d.Duration.Samples < 0, d.Bytes < 0, d.Retry.Interval < 0, d.Retry.Max < 0, d.Retry.Max > maxRetries:
		return fmt.Errorf("a number that is negative or too large")
	case d.Priority < 0 || d.Priority > 9:
		return fmt.Errorf("priority %d: 0 to 9", d.Priority)
	case !d.EarliestStart.IsZero() && !d.LatestEnd.IsZero() && !d.LatestEnd.After(d.EarliestStart):
		return fmt.Errorf("a window that ends before it begins")
	case len(d.Blackouts) > maxBlackouts:
		return fmt.Errorf("%d blackouts, at most %d", len(d.Blackouts), maxBlackouts)
	}
	for _, t := range []*time.Time{&d.EarliestStart, &d.LatestEnd} {
		if err := instant(t); err != nil {
			return err
		}
	}
	for i := range d.Blackouts {
		b := &d.Blackouts[i]
		if err := instant(&b.From); err != nil {
			return err
		}
		if err := instant(&b.To); err != nil {
			return err
		}
		if !b.To.After(b.From) {
			return fmt.Errorf("a blackout that ends before it begins")
		}
	}
	if text, err := json.Marshal(d); err != nil || len(text) > maxDelivery {
		return fmt.Errorf("a record of %d bytes, at most %d", len(text), maxDelivery)
	}
	return nil
}

func checkSchedule(s *mfpgate.LocalSchedule) error {
	for _, err := range []error{word("a local time", s.Local, 0, 32), word("a time zone", s.TimeZone, 0, maxID), word("a gap", s.Gap, 0, 8),
		word("a fold", s.Fold, 0, 8), word("a rule", s.RRule, 0, 256), instant(&s.Start)} {
		if err != nil {
			return err
		}
	}
	return nil
}

// checkBackground is checkChanges for background.
func checkBackground(list []mfpgate.Background, version string) error {
	if len(version) > 256 || len(list) > MaxBackground {
		return fmt.Errorf("%w: %d background schedules with a version of %d bytes", ErrAnswer, len(list), len(version))
	}
	seen := map[string]bool{}
	devices := 0
	for i := range list {
		b := &list[i]
		devices += len(b.Devices)
		for _, err := range []error{word("an id", b.ID, 1, maxID), word("a kind", b.Kind, 0, maxID), word("a cron line", b.Cron, 0, 128),
			word("a rule", b.RRule, 0, 256), checkSchedule(&b.Schedule)} {
			if err != nil {
				return fmt.Errorf("%w: background %d (%.70q): %w", ErrAnswer, i+1, b.ID, err)
			}
		}
		switch {
		case seen[b.ID]:
			return fmt.Errorf("%w: background %q is there twice", ErrAnswer, b.ID)
		case b.Concurrency < 0 || b.Concurrency > 100_000 || b.Duration < 0 || b.Duration > maxDuration || b.Jitter < 0 || b.Jitter > maxDuration:
			return fmt.Errorf("%w: background %q: a number out of bounds", ErrAnswer, b.ID)
		case devices > MaxDeliveries:
			return fmt.Errorf("%w: background of more than %d devices", ErrAnswer, MaxDeliveries)
		}
		for _, d := range b.Devices {
			if err := word("a device", string(d), 1, maxID); err != nil {
				return fmt.Errorf("%w: background %q: %w", ErrAnswer, b.ID, err)
			}
		}
		seen[b.ID] = true
	}
	return nil
}

// instant makes a time UTC, and refuses years that no record can hold.
func instant(t *time.Time) error {
	if t.IsZero() {
		*t = time.Time{}
		return nil
	}
	if *t = t.UTC().Round(0); t.Year() < 1970 || t.Year() > 9998 {
		return fmt.Errorf("a time in the year %d", t.Year())
	}
	return nil
}

func word(what, text string, shortest, longest int) error {
	if n := utf8.RuneCountInString(text); n < shortest || n > longest || !utf8.ValidString(text) {
		return fmt.Errorf("%s of %d characters: %d to %d, in UTF-8", what, n, shortest, longest)
	}
	for _, r := range text {
		if unicode.IsControl(r) {
			return fmt.Errorf("%s with a control character", what)
		}
	}
	return nil
}
