package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler/repair"
)

// What an operator can do about a delivery that finds no place.
const (
	optionWiden    = "widenWindow"
	optionRaise    = "raiseCapacity"
	optionPriority = "dropPriority"
)

// certificates finds for each unresolved job the proof that it is part of, the one that keeps most of them.
func (a *answer) certificates() map[int]*mfpgate.Certificate {
	proofs := slices.Clone(a.proofs)
	slices.SortStableFunc(proofs, func(x, y repair.Certificate) int { return y.AtLeast - x.AtLeast })
	of := map[int]*mfpgate.Certificate{}
	for _, p := range proofs {
		cert := a.certificate(p)
		for _, k := range p.Jobs {
			if of[k] == nil {
				of[k] = cert
			}
		}
	}
	return of
}

func (a *answer) certificate(p repair.Certificate) *mfpgate.Certificate {
	c := a.r.c
	need, have := deviceHours(p.Need, p.Have)
	return &mfpgate.Certificate{From: time.UnixMilli(p.From).UTC(), To: time.UnixMilli(p.To).UTC(), Need: deviceTime(p.Need),
		Have: deviceTime(p.Have), AtLeastUnresolved: p.AtLeast,
		Text: fmt.Sprintf("%s %s %s of %s between %s: at least %d cannot run", count(len(p.Jobs), "delivery"), verb(len(p.Jobs), "needs", "need"),
			need, have, c.between(p.From, p.To), p.AtLeast)}
}

func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// between writes a span with "and".
func (c *scene) between(from, to int64) string {
	if c.day(from) == c.day(to) {
		return c.hour(from) + " and " + c.hour(to) + " " + c.place() + " on " + c.day(from)
	}
	return c.hour(from) + " on " + c.day(from) + " and " + c.hour(to) + " on " + c.day(to) + " " + c.place()
}

// deviceHours writes two figures in the unit in which they differ.
func deviceHours(need, have int64) (string, string) {
	const minute, hour = 60_000, 3_600_000
	format := func(v int64, unit float64) string { return strconv.FormatFloat(float64(v)/unit, 'f', -1, 64) }
	switch {
	case need%hour == 0 && have%hour == 0:
		return format(need, hour), format(have, hour) + " device-hours"
	case need-have >= 2*hour && have >= 10*hour:
		return strconv.FormatInt((need+hour/2)/hour, 10), strconv.FormatInt((have+hour/2)/hour, 10) + " device-hours"
	case need%minute == 0 && have%minute == 0:
		return format(need, minute), format(have, minute) + " device-minutes"
	}
	return format(need, 1000), format(have, 1000) + " device-seconds"
}

// remains says why a delivery keeps its start.
func (a *answer) remains(k int, proofs map[int]*mfpgate.Certificate) mfpgate.Unresolved {
	c, it, j := a.r.c, a.item(k), &a.jobs[k]
	u := mfpgate.Unresolved{Delivery: it.d.ID, Certificate: proofs[k]}
	switch {
	case u.Certificate != nil:
		u.Text = u.Certificate.Text
	case j.First > j.Last:
		u.Text = fmt.Sprintf("its window, the lead time and the longest move leave no start but %s", c.clock(j.Start))
	default:
		u.Text = fmt.Sprintf("no start between %s was found that overloads nothing", c.between(j.First, j.Last))
		if refused := a.refused(k, 3); len(refused) > 0 {
			u.Text += "; the nearest have no room: " + strings.Join(refused, ", ")
		}
	}
	u.Text = clip(u.Text, maxText)
	if !it.d.EarliestStart.IsZero() || !it.d.LatestEnd.IsZero() || len(it.d.Blackouts) > 0 || c.s.Contract.MaxMove > 0 {
		u.Options = append(u.Options, optionWiden)
	}
	u.Options = append(u.Options, optionRaise)
	if a.urgent > j.Priority {
		u.Options = append(u.Options, optionPriority)
	}
	return u
}

// certify puts proofs to the bands in which they keep deliveries.
func (a *answer) certify(bands []mfpgate.Band) {
	for i := range bands {
		for _, p := range a.proofs {
			if p.From < bands[i].To.UnixMilli() && bands[i].From.UnixMilli() < p.To &&
				(bands[i].Certificate == nil || p.AtLeast > bands[i].Certificate.AtLeastUnresolved) {
				bands[i].Certificate = a.certificate(p)
			}
		}
	}
}
