package hawkbit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

const maxActive = 50 // actions of one target at a time

// assign makes the assignment of a move, once: one that was made, though its answer was lost, is found again.
func (c *Client) assign(ctx context.Context, row Intent) error {
	m := row.Move
	ours, others, err := c.standingOf(ctx, m)
	switch {
	case err != nil:
		return err
	case ours != 0:
		return c.made(ctx, row, ours)
	case others:
		row.Move = nil // somebody has assigned something meanwhile: that stands
		c.tell(row.Delivery, m, "superseded", "")
		return c.put(ctx, row)
	case !m.Restore && !m.End.IsZero() && !c.o.Clock.Now().Before(m.End):
		return c.fall(ctx, row, "its window passed before it could be assigned")
	}
	o, err := c.wanted(m)
	if err != nil {
		return c.fall(ctx, row, err.Error())
	}
	var got assigned
	err = c.call(ctx, http.MethodPost, "targets/"+url.PathEscape(m.Target)+"/assignedDS", nil,
		assignment{ID: m.Set, Type: o.Type, ForceTime: o.ForceTime, Weight: o.Weight, Window: o.Window}, &got)
	if refused, ok := errors.AsType[*Error](err); ok && refused.final() {
		return c.fall(ctx, row, refused.Error())
	} else if err != nil {
		return err // it may have been made: that is looked for first
	}
	switch {
	case len(got.Actions) == 1 && got.Actions[0].ID > m.Action:
		return c.made(ctx, row, got.Actions[0].ID)
	case len(got.Actions) == 0 && got.Already > 0:
		// No action is active, so it is installed, or assigned in a way that makes none.
		m.Restore = true // it would be refused as it was too
		return c.fall(ctx, row, "hawkBit says that the target has it, and makes no action")
	}
	return fmt.Errorf("%w: an assignment made %d actions", ErrAnswer, len(got.Actions))
}

// made reads the new action once more before the move counts as done.
func (c *Client) made(ctx context.Context, row Intent, id int64) error {
	m := row.Move
	o, err := c.wanted(m)
	if err != nil {
		return err
	}
	a, err := c.action(ctx, m.Target, id)
	if err != nil {
		return err
	}
	if a.set != m.Set || !same(a.order(), o) {
		return fmt.Errorf("%w: action %d is not as it was ordered", ErrAnswer, id)
	}
	m.Step, m.Action, m.Seen = StepAssigned, id, a.version()
	if m.Restore {
		row.Move = nil // it is somebody's own again, under its new number
		c.tell(row.Delivery, m, "restored", row.Reason)
	} else {
		c.tell(row.Delivery, m, "assigned", "")
	}
	if err := c.put(ctx, row); err != nil {
		return err
	}
	signal(c.news)
	return nil
}

// fall assigns it as it was, where it cannot be assigned as it should be; and says so if that cannot be either.
func (c *Client) fall(ctx context.Context, row Intent, why string) error {
	m := row.Move
	row.Reason = clip(why)
	if m.Restore {
		m.Step = StepFailed
		c.tell(row.Delivery, m, "failed", row.Reason)
	} else {
		m.Restore = true
	}
	return c.put(ctx, row)
}

func (c *Client) tell(delivery string, m *Move, outcome, why string) {
	c.o.Logger.Info().Str(field.Key, delivery).Str(field.Device, string(m.Shown.Device)).Str(field.Outcome, outcome).Str(field.Reason, why).Msg(event.HawkbitMoved)
}

// wanted is the order that a move has to give now.
func (c *Client) wanted(m *Move) (Order, error) {
	o := m.Was
	if o.Window != nil {
		w := *o.Window
		w.NextStart = 0 // hawkBit's answer, no part of an order
		o.Window = &w
	}
	if m.Restore {
		return o, nil
	}
	if o.Type == typeTimeForced {
		o.ForceTime = m.To.UnixMilli()
	}
	if o.Window == nil {
		return o, nil
	}
	zone, err := o.Window.zone()
	if err != nil {
		return Order{}, err
	}
	w, err := OneShot(m.To, m.End, cmp.Or(c.o.Zone, zone))
	o.Window = &w
	return o, err
}

// same reports whether an action has the schedule of an order. hawkBit leaves a force time out where the type has none.
func same(a, b Order) bool {
	if cmp.Or(a.Type, "forced") != cmp.Or(b.Type, "forced") || a.Type == typeTimeForced && a.ForceTime != b.ForceTime {
		return false
	}
	if a.Window == nil || b.Window == nil {
		return a.Window == nil && b.Window == nil
	}
	la, _ := a.Window.length()
	lb, _ := b.Window.length()
	return a.Window.Schedule == b.Window.Schedule && a.Window.Timezone == b.Window.Timezone && la == lb
}

// standingOf looks at a target's active actions: which is the one that a move has made, and whether there are others. One that was
// made before it was decided to put things back is the move's too, and ends that decision.
func (c *Client) standingOf(ctx context.Context, m *Move) (ours int64, others bool, err error) {
	var p page[action]
	err = c.call(ctx, http.MethodGet, "targets/"+url.PathEscape(m.Target)+"/actions",
		url.Values{"q": {activeOnly}, "limit": {strconv.Itoa(maxActive)}, "offset": {"0"}, "sort": {"id:DESC"}}, nil, &p)
	if err != nil {
		return 0, false, err
	}
	if len(p.Content) > maxActive {
		return 0, false, fmt.Errorf("%w: %d active actions of one target", ErrAnswer, len(p.Content))
	}
	moved := *m
	moved.Restore = false
	for i := range p.Content {
		a := &p.Content[i]
		if err := a.check(true); err != nil {
			return 0, false, err
		}
		if a.ID <= m.Action || a.standing() == statusCanceling {
			continue
		}
		others = true
		for _, as := range []*Move{&moved, m} {
			o, err := c.wanted(as)
			if err != nil || !same(a.order(), o) {
				continue
			}
			full, err := c.action(ctx, m.Target, a.ID) // the list does not name the distribution set
			if err != nil {
				return 0, false, err
			}
			if full.set == m.Set {
				m.Restore = as.Restore
				return a.ID, true, nil
			}
		}
	}
	return 0, others, nil
}
