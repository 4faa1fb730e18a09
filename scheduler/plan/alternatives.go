package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler/load"
)

// ErrDelivery is returned for a delivery that is not in the snapshot.
var ErrDelivery = fmt.Errorf("%w: there is no such delivery", ErrSnapshot)

// Alternatives returns up to limit starts of a delivery that overload nothing, the nearest to its own first. They obey its
// window and blackouts, the lead time and the longest move, and lie inside the horizon; that it is pinned does not matter,
// for a person may move it. One that does not count, runs, or recurs has none.
func Alternatives(s mfpgate.ScheduleSnapshot, delivery string, limit int) ([]time.Time, error) {
	c, err := newScene(s, time.Time{}, time.Time{})
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(c.items, func(i item) bool { return i.d.ID == delivery })
	if i < 0 {
		if !slices.ContainsFunc(s.Deliveries, func(d mfpgate.Delivery) bool { return d.ID == delivery }) {
			return nil, fmt.Errorf("%w: %.64q", ErrDelivery, delivery)
		}
		return nil, nil
	}
	it := &c.items[i]
	if !it.when.once || it.d.State == mfpgate.DeliveryRunning {
		return nil, nil
	}
	p := c.problem
	p.Occurrences = slices.Clone(p.Occurrences)
	p.Occurrences[it.first].Duration, p.Occurrences[it.first].Likely = 0, 0
	line, err := load.NewTimeline(p)
	if err != nil {
		return nil, fmt.Errorf("lay the load out: %w", err)
	}
	var rest profile
	for s := range line.Steps() {
		rest = append(rest, s)
	}
	j := c.job(it, 0)
	var starts []time.Time
	for at := range nearest(it.start, c.slot, j.First, j.Last) {
		if len(starts) >= limit {
			break
		}
		if at == it.start || closed(&j, at) {
			continue
		}
		if _, full := rest.full(span{at, at + j.Duration}, span{}); !full {
			starts = append(starts, time.UnixMilli(at).UTC())
		}
	}
	return starts, nil
}
