package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler/load"
)

// Detect returns the overloads from now to the horizon that are large enough to be told of, and the deliveries that do not
// count. Errors wrap ErrSnapshot.
func Detect(s mfpgate.ScheduleSnapshot) ([]mfpgate.Band, []mfpgate.LeftOut, error) {
	c, err := newScene(s, time.Time{}, time.Time{})
	if err != nil {
		return nil, nil, err
	}
	bands, err := c.bands()
	return bands, c.left, err
}

// Slot is the planned load in one piece of time.
type Slot struct {
	From, To time.Time
	Load     int  // the most devices at once
	Limit    int  // the least capacity; Unlimited if there is none
	Over     bool // whether the load exceeds the capacity at any moment; the two figures above may be of different ones
}

// maxSlots is how many slots Timeline returns at most.
const maxSlots = 100_000

// Timeline returns the planned load from from to to in pieces of slot, the last of which may be shorter. Errors wrap
// ErrSnapshot; at most 100,000 slots and 400 days are answered.
func Timeline(s mfpgate.ScheduleSnapshot, from, to time.Time, slot time.Duration) ([]Slot, error) {
	if slot < time.Second || !from.Before(to) || to.Sub(from) > maxHorizon || to.Sub(from)/slot >= maxSlots {
		return nil, fmt.Errorf("%w: a timeline from %s to %s in pieces of %s; ask for up to 400 days and 100,000 pieces of a second or more",
			ErrSnapshot, from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339), slot)
	}
	c, err := newScene(s, from, to)
	if err != nil {
		return nil, err
	}
	line, err := load.NewTimeline(c.problem)
	if err != nil {
		return nil, fmt.Errorf("lay the load out: %w", err)
	}
	slots := make([]Slot, 0, to.Sub(from)/slot+1)
	for s := range line.Series(from.UnixMilli(), to.UnixMilli(), slot.Milliseconds()) {
		slots = append(slots, Slot{From: time.UnixMilli(s.From).UTC(), To: time.UnixMilli(s.To).UTC(), Load: s.Load, Limit: s.Limit, Over: s.Over})
	}
	return slots, nil
}

// bands detects, and writes what it finds in the root's terms. An overload is one band for as long as one capacity holds, from
// where it begins to where it ends even if all take long: so the durations that are planned with make the bands, and the likely
// ones their certainty.
func (c *scene) bands() ([]mfpgate.Band, error) {
	parts, err := load.Detect(c.problem)
	if err != nil {
		return nil, fmt.Errorf("find overloads: %w", err)
	}
	if len(parts) == 0 && c.problem.MinExcess <= 1 {
		return nil, nil
	}
	whole := c.problem
	whole.Occurrences = slices.Clone(whole.Occurrences)
	for i := range whole.Occurrences {
		whole.Occurrences[i].Likely = whole.Occurrences[i].Duration
	}
	found, err := load.Detect(whole)
	if err != nil {
		return nil, fmt.Errorf("find overloads: %w", err)
	}
	var bands []mfpgate.Band
	for i := range found {
		f := &found[i]
		f.Certainty, f.Probability = load.Risk, 0
		for ; len(parts) > 0 && parts[0].From < f.To; parts = parts[1:] {
			f.Certainty = max(f.Certainty, parts[0].Certainty)
			f.Probability = max(f.Probability, parts[0].Probability)
		}
		bands = append(bands, c.band(f))
	}
	return bands, nil
}

func (c *scene) band(f *load.Band) mfpgate.Band {
	b := mfpgate.Band{
		From: time.UnixMilli(f.From).UTC(), To: time.UnixMilli(f.To).UTC(), Capacity: f.Capacity, Peak: f.Peak,
		PeakAt: time.UnixMilli(f.PeakAt).UTC(), Excess: deviceTime(f.Excess), Certainty: mfpgate.OverloadRisk,
		Probability: f.Probability, MustMove: f.MustLeave,
	}
	if f.Certainty == load.Certain {
		b.Certainty = mfpgate.OverloadCertain
	}
	for _, p := range f.Contributors {
		s := c.sources[p.Source]
		b.Contributors = append(b.Contributors, mfpgate.Contributor{Type: s.kind, ID: s.id, Count: p.Count, PeakShare: p.PeakShare})
	}
	b.Contributors = c.merged(b.Contributors)
	from := f.From
	if from == c.problem.From {
		from = 0 // it has begun already, and is the same one a minute later
	}
	b.ID = digest("band", from, f.To, f.Capacity, f.Peak, b.Certainty)
	b.Text = c.bandText(&b)
	return b
}

// deviceTime reads device-milliseconds; more than 292 years of them are cut off.
func deviceTime(ms int64) time.Duration {
	if ms > math.MaxInt64/int64(time.Millisecond) {
		return math.MaxInt64
	}
	return time.Duration(ms) * time.Millisecond
}

// digest names content: the same content has the same name.
func digest(kind string, parts ...any) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%q\n", fmt.Sprint(p))
	}
	return kind + "_" + hex.EncodeToString(h.Sum(nil)[:12])
}
