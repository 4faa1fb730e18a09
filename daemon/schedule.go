package daemon

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/scheduler"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry"
)

// What is wrong with the delivery schedules.
const (
	// ScheduleStale is the degradation while no plan was made for three times the interval of schedule.fetch.
	ScheduleStale mfpgate.Reason = "schedule-stale"
	// PlanFailed is the degradation while the last fetched state could not be planned.
	PlanFailed mfpgate.Reason = "plan-failed"
)

const (
	staleAfter   = 3 // intervals of schedule.fetch
	scheduleLook = 30 * time.Second
)

// schedule is the scheduler, and what it needs of the gateway. It implements scheduler.Site.
type schedule struct {
	*scheduler.Scheduler
	daemon    *Daemon
	transfers transfers
	woken     chan struct{} // capacity 1

	mu     sync.Mutex
	policy scheduler.Policy // in force
}

func newSchedule(ctx context.Context, d *Daemon) (*schedule, error) {
	m := d.metrics // a series that begins at 0 can be compared with its past
	for vec, values := range map[*telemetry.CounterVec][]string{
		m.SchedulerRuns:      {"planned", "idle", "failed", "refused", "stopped"},
		m.SchedulerProposals: {"handed", "stale", "refused", "withdrawn"},
		m.SchedulerChanges:   {"applied", "rejected", "conflict", "expired"},
		m.SchedulerRefused:   {"answer", "report", "proposal"},
		m.RelayTransfers:     {transferDelivery, transferUnclassified},
	} {
		for _, v := range values {
			vec.WithLabelValues(v)
		}
	}
	s := &schedule{daemon: d, woken: make(chan struct{}, 1)}
	s.transfers.schedule = s
	s.policy = s.policyOf(d.config.Load())
	var err error
	s.Scheduler, err = scheduler.New(ctx, scheduler.Options{Clock: d.Clock, Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		Store: store.Prefix(d.shared, "scheduler/"), Cloud: deliverySystem{d}, Site: s, Planner: scheduler.Planning{}, Log: d.log, Metrics: d.metrics,
		Gateway: gatewayID(d.config.Load()), Policy: s.policy, Notice: s.notice, Changed: s.wake,
		Confirmed: s.transfers.confirmed})
	if err != nil {
		return nil, fmt.Errorf("delivery schedules: %w", err)
	}
	return s, nil
}

// wake has run look: something changed that a schedule depends on, or of the schedule. It may be called before there is one.
func (s *schedule) wake() {
	if s != nil {
		poke(s.woken)
	}
}

func (s *schedule) run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }() // the loop below waits for it
	for {
		s.look()
		timer := s.daemon.Clock.NewTimer(scheduleLook)
		select {
		case err := <-ended:
			timer.Stop()
			return err
		case <-s.woken:
			timer.Stop()
		case <-timer.C():
		}
	}
}

// look brings the scheduler, its policy and what is said of its health up to date.
func (s *schedule) look() {
	s.reload()
	s.Wake()
	s.transfers.sweep()
	s.judge(s.Status())
}

// reload puts the configuration's policy in force if it is another, or names other devices, than before.
func (s *schedule) reload() {
	next := s.policyOf(s.daemon.config.Load())
	s.mu.Lock()
	defer s.mu.Unlock()
	if !samePolicy(s.policy, next) {
		s.policy = next
		s.Reconfigure(next)
	}
}

func samePolicy(a, b scheduler.Policy) bool {
	x, y := a.Fetch.(calendar.Recurrence), b.Fetch.(calendar.Recurrence) // as policyOf makes them
	a.Fetch, b.Fetch = nil, nil
	return x.Equal(y) && reflect.DeepEqual(a, b)
}

func (s *schedule) policyOf(cfg *config.Config) scheduler.Policy {
	p := scheduler.Policy{Mode: cfg.Schedule.Mode, Fetch: cfg.Schedule.Due, Horizon: cfg.Schedule.Horizon, Background: s.background(cfg)}
	switch {
	case s.daemon.hawkbit != nil:
		p.System = "hawkbit " + s.daemon.hawkbit.of.URL.String() + " " + s.daemon.hawkbit.of.Targets
	case cfg.Cloud.URL != nil:
		p.System = cloudName(cfg.Cloud)
	}
	return p
}

// background is what the configuration says of other traffic, with the ids of the devices that it names.
func (s *schedule) background(cfg *config.Config) []mfpgate.Background {
	var list []mfpgate.Background
	var devices []mfpgate.Device
	for _, b := range cfg.Schedule.Background {
		out := mfpgate.Background{ID: b.Name, Cron: b.Cron, RRule: b.RRule, AllDevices: b.Devices.All, Concurrency: b.Concurrency,
			Schedule: mfpgate.LocalSchedule{Local: b.Start, TimeZone: cfg.Site.TimeZone.String()}, Duration: b.Duration, Jitter: b.Jitter}
		if len(b.Devices.Named) > 0 {
			if devices == nil {
				devices = s.daemon.registry.List()
			}
			for _, d := range devices {
				if d.Name != "" && slices.Contains(b.Devices.Named, d.Name) || d.Address != "" && slices.Contains(b.Devices.Named, d.Address) {
					out.Devices = append(out.Devices, d.ID)
				}
			}
			if len(out.Devices) == 0 {
				continue // none of them is known yet
			}
			slices.Sort(out.Devices)
		}
		list = append(list, out)
	}
	return list
}

// notice is what else the delivery system's events mean.
func (s *schedule) notice(e mfpgate.ScheduleEvent) {
	if e.Type == mfpgate.EventContractChanged {
		s.daemon.contracts.wake()
	}
}

// Contract implements scheduler.Site.
func (s *schedule) Contract() (mfpgate.Contract, bool) {
	cfg := s.daemon.config.Load()
	kept := s.daemon.contracts.of(cfg.Cloud)
	switch {
	case kept == nil && s.daemon.hawkbit != nil && cfg.Cloud.URL == nil:
		return s.daemon.hawkbit.contract(cfg.Site.TimeZone), true
	case kept == nil:
		return mfpgate.Contract{}, false
	}
	return kept.Contract.Root(kept.ETag), true
}

// monitored are the devices that the gateway monitors: strangers, and those that the cloud says are another's, are not.
func (s *schedule) monitored() []mfpgate.Device {
	told := s.told()
	return slices.DeleteFunc(s.daemon.registry.List(), func(d mfpgate.Device) bool {
		_, there := told.modes[d.ID]
		return d.State == mfpgate.DeviceUnknown && !there || told.refused[d.ID]
	})
}

// told is what the present cloud has acknowledged.
func (s *schedule) told() acknowledged {
	shown, cloud := s.daemon.inventory.shown.Load(), s.daemon.config.Load().Cloud
	if shown == nil || cloud.URL == nil || shown.cloud != cloudName(cloud) {
		return acknowledged{}
	}
	return *shown
}

// Devices implements scheduler.Site.
func (s *schedule) Devices() []mfpgate.ScheduledDevice {
	list := []mfpgate.ScheduledDevice{}
	for _, d := range s.monitored() {
		list = append(list, mfpgate.ScheduledDevice{ID: d.ID, Model: d.Model, MonitoringMode: d.MonitoringMode, Attachment: d.Attachment})
	}
	return list
}

// Told implements scheduler.Site.
func (s *schedule) Told() bool {
	if s.daemon.hawkbit != nil {
		return true // it knows of no modes: what is polled is left out here
	}
	told := s.told()
	for _, d := range s.monitored() {
		if told.modes[d.ID] != (mode{d.MonitoringMode, d.Attachment}) {
			return false
		}
	}
	return told.modes != nil
}

// Capacity implements scheduler.Site.
func (s *schedule) Capacity(t time.Time) (devices int, until time.Time) {
	return s.daemon.config.Load().Relay.Capacity.InForce.At(t)
}

// planned is what the relay asks of each device that waits.
func (s *schedule) planned(device mfpgate.DeviceID, t time.Time) bool {
	_, ok := s.Planned(device, t)
	return ok
}

// judge says what is wrong with the schedules.
func (s *schedule) judge(st scheduler.Status) {
	h, now := s.daemon.health, s.daemon.Clock.Now()
	if st.Idle != "" || s.daemon.config.Load().Cloud.URL == nil && s.daemon.hawkbit == nil {
		h.clear(ScheduleStale)
		h.clear(PlanFailed)
		h.clear(scheduler.AnswerRefused)
		return
	}
	if st.Reason == scheduler.AnswerRefused {
		h.set(scheduler.AnswerRefused, "the delivery system's answer breaks a rule; the last plan stays in force; tell its operator: "+st.Error)
	} else {
		h.clear(scheduler.AnswerRefused)
	}
	if st.Error != "" && st.Reason == "" && st.Fetched.After(st.Succeeded) {
		h.set(PlanFailed, "the delivery schedules were fetched and cannot be planned; the last plan stays in force: "+st.Error)
	} else {
		h.clear(PlanFailed)
	}
	since := st.Succeeded
	if since.Before(s.daemon.started) {
		since = s.daemon.started // it has had no chance before
	}
	if limit := staleAfter * s.interval(now); now.Sub(since) > limit {
		text := "the delivery schedules were never planned"
		if !st.Succeeded.IsZero() {
			text = "the delivery schedules were planned last at " + st.Succeeded.In(s.daemon.config.Load().Site.TimeZone).Format("2006-01-02 15:04")
		}
		h.set(ScheduleStale, text+"; deliveries may overload the relay unseen: "+cmp.Or(st.Error, "no run has ended since"))
	} else {
		h.clear(ScheduleStale)
	}
}

// interval is the longest time between two of the next fetches.
func (s *schedule) interval(now time.Time) (longest time.Duration) {
	due := s.daemon.config.Load().Schedule.Due
	at := due.Next(now)
	for range 8 {
		next := due.Next(at)
		if next.IsZero() {
			break
		}
		longest, at = max(longest, next.Sub(at)), next
	}
	return longest
}
