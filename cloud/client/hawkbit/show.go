package hawkbit

import (
	"context"

	"github.com/mfpgate/mfpgate"
)

// shown puts what hawkBit has and what the log holds together. before are the rows as they were when reading began: what they
// name is theirs, though a move went on meanwhile.
func (c *Client) shown(before map[string]Intent, there map[int64]found) []mfpgate.Delivery {
	rows, covered := c.snapshot(), map[int64]bool{}
	var out []mfpgate.Delivery
	for id, r := range before {
		if r.Move != nil && rows[id].Move != nil {
			covered[r.Move.Action] = true
		}
	}
	for _, r := range rows {
		if r.Move == nil {
			continue
		}
		covered[r.Move.Action] = true
		f, ok := there[r.Move.Action]
		out = append(out, r.Move.delivery(r.Delivery, f, ok))
	}
	for id, f := range there {
		if !covered[id] {
			out = append(out, f.delivery)
		}
	}
	return out
}

// delivery is what a delivery looks like while it is moved. f is its action, if that is active.
func (m *Move) delivery(id string, f found, active bool) mfpgate.Delivery {
	d := m.Shown
	d.ID, d.State, d.Movable, d.PinnedReason = id, mfpgate.DeliveryPlanned, false, ""
	d.Schedule = mfpgate.LocalSchedule{Start: m.To}
	d.Version = m.version()
	switch m.Step {
	case StepCancel, StepCanceling:
		// Its new start already: a plan that counted the old one would move another delivery for it.
		d.Version, d.PinnedReason = m.Seen, "it is being moved, and its device has not confirmed"
	case StepHeld:
		if d.Movable = !m.Restore; m.Restore {
			d.Schedule.Start, d.PinnedReason = m.From, "it is being put back"
		}
	case StepAssign:
		d.PinnedReason = "it is being assigned"
	case StepAssigned:
		if active {
			d = f.delivery
			d.ID, d.EarliestStart, d.LatestEnd = id, m.Shown.EarliestStart, m.Shown.LatestEnd
		}
	case StepFailed:
		d.State = mfpgate.DeliveryFailed
	}
	return d
}

// version names a move's present start.
func (m *Move) version() string {
	return digest([]any{m.Step, m.Target, m.Action, m.To.UnixMilli(), m.Restore})
}

// settle ends the moves whose action has ended, and those that somebody else has taken in hand.
func (c *Client) settle(ctx context.Context, before map[string]Intent, there map[int64]found) error {
	newest := map[string]int64{}
	for id, f := range there {
		newest[f.action.target] = max(newest[f.action.target], id)
	}
	for id, was := range before {
		if was.Move == nil {
			continue
		}
		_, active := there[was.Move.Action]
		taken := newest[was.Move.Target] > was.Move.Action // somebody has assigned something since
		switch was.Move.Step {
		case StepAssigned:
			if active {
				continue
			}
		case StepHeld, StepFailed:
			if !taken {
				continue
			}
		default:
			continue
		}
		if err := c.end(ctx, id, was.Move); err != nil {
			return err
		}
	}
	return nil
}

// end ends a move if it still stands where it stood.
func (c *Client) end(ctx context.Context, id string, was *Move) error {
	c.work.Lock()
	defer c.work.Unlock()
	if err := c.load(ctx); err != nil {
		return err
	}
	row, ok := c.row(id)
	if !ok || row.Move == nil || row.Move.Step != was.Step || row.Move.Action != was.Action {
		return nil
	}
	row.Move = nil
	return c.put(ctx, row)
}

func (c *Client) row(id string) (Intent, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.rows[id]
	if r.Move != nil {
		m := *r.Move
		r.Move = &m
	}
	return r, ok
}
