package hawkbit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
)

const (
	traitsLife  = time.Hour // attributes of targets are read no more often
	maxRollouts = 1000
	maxDevice   = 64 // bytes of a device's id
	activeOnly  = "active==true"
)

// traits are what is known of a target.
type traits struct {
	device   mfpgate.DeviceID
	model    string
	earliest time.Time
	latest   time.Time
	read     time.Time
}

// found is an action with the delivery that it stands for.
type found struct {
	action   action
	delivery mfpgate.Delivery
}

// Changes returns all deliveries of the gateway's targets, whatever since is: hawkBit has no differences.
func (c *Client) Changes(ctx context.Context, window mfpgate.Interval, _ string) (mfpgate.ScheduleChanges, error) {
	c.work.Lock()
	err := c.load(ctx)
	c.work.Unlock()
	if err != nil {
		return mfpgate.ScheduleChanges{}, fmt.Errorf("moves of deliveries: %w", err)
	}
	before := c.snapshot()
	there, err := c.survey(ctx)
	if err != nil {
		return mfpgate.ScheduleChanges{}, err
	}
	if err := c.settle(ctx, before, there); err != nil {
		return mfpgate.ScheduleChanges{}, fmt.Errorf("moves of deliveries: %w", err)
	}
	out := mfpgate.ScheduleChanges{Whole: true}
	for _, d := range c.shown(before, there) {
		if window.To.IsZero() || d.Schedule.Start.Before(window.To) || !d.EarliestStart.IsZero() && d.EarliestStart.Before(window.To) {
			out.Deliveries = append(out.Deliveries, d)
		}
	}
	slices.SortFunc(out.Deliveries, func(a, b mfpgate.Delivery) int { return cmp.Compare(a.ID, b.ID) })
	out.Token = digest(out.Deliveries)
	return out, nil
}

// survey reads the active actions of the gateway's targets.
func (c *Client) survey(ctx context.Context) (map[int64]found, error) {
	targets, err := list(ctx, c, "targets", url.Values{"q": {c.o.Targets}, "sort": {"controllerId:ASC"}}, MaxTargets,
		func(t target) (string, error) {
			return t.ControllerID, cmp.Or(controller(t.ControllerID), word(t.TypeName, 256))
		})
	if err != nil {
		return nil, fmt.Errorf("hawkBit's targets: %w", err)
	}
	ours, all := make(map[string]traits, len(targets)), make(map[string]bool, len(targets))
	for _, t := range targets {
		all[t.ControllerID] = true
		x, err := c.traits(ctx, t)
		if err != nil {
			return nil, fmt.Errorf("hawkBit's target %.70q: %w", t.ControllerID, err)
		}
		if x.device != "" && len(x.device) <= maxDevice {
			ours[t.ControllerID] = x
		}
	}
	c.mu.Lock()
	maps.DeleteFunc(c.seen, func(id string, _ traits) bool { return !all[id] })
	c.mu.Unlock()
	actions, err := list(ctx, c, "actions", url.Values{"q": {activeOnly}, "sort": {"id:ASC"}, "representation": {"full"}}, MaxActions,
		func(a action) (string, error) { return a.key(), a.check(false) })
	if err != nil {
		return nil, fmt.Errorf("hawkBit's actions: %w", err)
	}
	now, starts, out := c.o.Clock.Now(), map[int64]int64{}, map[int64]found{}
	for _, a := range actions {
		if err := a.check(false); err != nil { // fills the copy
			return nil, err
		}
		x, ok := ours[a.target]
		if !ok {
			continue
		}
		if a.Rollout != 0 && a.standing() == statusScheduled {
			if _, known := starts[a.Rollout]; !known {
				if len(starts) >= maxRollouts {
					return nil, fmt.Errorf("hawkBit's rollouts: more than %d wait", maxRollouts)
				}
				if starts[a.Rollout], err = c.startOf(ctx, a.Rollout); err != nil {
					return nil, fmt.Errorf("hawkBit's rollout %d: %w", a.Rollout, err)
				}
			}
		}
		out[a.ID] = found{a, c.delivery(&a, x, starts[a.Rollout], now)}
	}
	return out, nil
}

// traits reads the attributes of a target, where any is asked for.
func (c *Client) traits(ctx context.Context, t target) (traits, error) {
	x := traits{device: mfpgate.DeviceID(t.ControllerID), model: t.TypeName, read: c.o.Clock.Now()}
	if c.o.DeviceAttribute == "" && c.o.WindowAttribute == "" {
		return x, nil
	}
	c.mu.Lock()
	old, known := c.seen[t.ControllerID]
	c.mu.Unlock()
	if known && x.read.Sub(old.read) < traitsLife {
		old.model = t.TypeName
		return old, nil
	}
	var attributes map[string]string
	err := c.call(ctx, http.MethodGet, "targets/"+url.PathEscape(t.ControllerID)+"/attributes", nil, nil, &attributes)
	var refused *Error
	if err != nil && !(errors.As(err, &refused) && refused.Status == http.StatusNotFound) {
		return traits{}, err
	}
	if c.o.DeviceAttribute != "" {
		x.device = mfpgate.DeviceID(attributes[c.o.DeviceAttribute])
		if word(string(x.device), maxDevice) != nil {
			x.device = "" // what a device says of itself; it is no reason to refuse the others
		}
	}
	if from, to, ok := strings.Cut(attributes[c.o.WindowAttribute], "/"); ok && c.o.WindowAttribute != "" {
		earliest, err1 := time.Parse(time.RFC3339, from)
		latest, err2 := time.Parse(time.RFC3339, to)
		if errors.Join(err1, err2) == nil && latest.After(earliest) {
			x.earliest, x.latest = earliest.UTC(), latest.UTC()
		}
	}
	c.mu.Lock()
	c.seen[t.ControllerID] = x
	c.mu.Unlock()
	return x, nil
}

func (c *Client) startOf(ctx context.Context, id int64) (int64, error) {
	var r rollout
	if err := c.call(ctx, http.MethodGet, "rollouts/"+strconv.FormatInt(id, 10), nil, nil, &r); err != nil {
		return 0, err
	}
	if r.ID != id || !instant(r.StartAt) {
		return 0, fmt.Errorf("%w: rollout %d from %d", ErrAnswer, r.ID, r.StartAt)
	}
	return r.StartAt, nil
}

// delivery is what an action means to a scheduler.
func (c *Client) delivery(a *action, x traits, rolloutStart int64, now time.Time) mfpgate.Delivery {
	d := mfpgate.Delivery{
		ID: a.key(), Device: x.device, Batch: "ds-" + strconv.FormatInt(a.set, 10), Kind: "firmware", Model: x.model,
		State: mfpgate.DeliveryPlanned, Version: a.version(), Duration: c.o.Duration,
		Schedule: mfpgate.LocalSchedule{Start: at(max(a.CreatedAt, 1))},
	}
	d.Package, d.PackageVersion = a.name()
	if a.Weight != nil {
		d.Priority = min(*a.Weight/100, 9)
	}
	if a.Rollout != 0 {
		d.Batch = "rollout-" + strconv.FormatInt(a.Rollout, 10)
	}
	pin := func(why string) mfpgate.Delivery {
		d.PinnedReason = why
		return d
	}
	var end time.Time
	timed := true
	switch w := a.Window; {
	case w != nil && w.NextStart > 0:
		length, _ := w.length() // checked
		d.Schedule.Start = at(w.NextStart)
		end = d.Schedule.Start.Add(length)
	case w != nil:
		return pin("its maintenance window has passed")
	case a.ForceType == typeTimeForced && a.ForceTime > 0:
		d.Schedule.Start = at(a.ForceTime)
	case a.standing() == statusScheduled && rolloutStart > 0:
		d.Schedule.Start = at(rolloutStart)
	default:
		timed = false
	}
	if end.After(d.Schedule.Start) {
		d.EarliestStart, d.LatestEnd = d.Schedule.Start, end
	}
	if !x.latest.IsZero() {
		d.EarliestStart, d.LatestEnd = x.earliest, x.latest
	}
	begun := timed && !d.Schedule.Start.After(now)
	switch a.standing() {
	case statusCanceling:
		d.State = mfpgate.DeliveryCancelled
		return d
	case statusDownload:
		d.State = mfpgate.DeliveryRunning
		return d
	case statusDownloaded:
		return pin("the device has downloaded it")
	case statusConfirm:
		return pin("it waits for a confirmation")
	case statusScheduled:
		return pin("its rollout starts it")
	case statusRunning, statusRetrieved:
		if begun || !timed {
			d.State = mfpgate.DeliveryRunning // hawkBit offers it
			return d
		}
	default:
		return pin("hawkBit says of it: " + a.standing())
	}
	if a.Rollout != 0 {
		return pin("it belongs to a rollout")
	}
	d.Movable = true
	return d
}
