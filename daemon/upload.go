package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/client"
	"github.com/mfpgate/mfpgate/discovery/report"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// The bounds of what waits on disk for the cloud. A reading is a few hundred bytes, an alert 200.
var uploadBounds = bounds{
	telemetry: journal.QueueOptions{MaxRows: 100_000, MaxBytes: 64 << 20, Overflow: journal.DropOldest},
	alerts:    journal.QueueOptions{MaxRows: 100_000, MaxBytes: 32 << 20, Overflow: journal.DropOldest},
}

type bounds struct{ telemetry, alerts journal.QueueOptions }

// ReportsDropped is the degradation from the first report that had no room to the next one that the cloud takes.
const ReportsDropped mfpgate.Reason = "reports-dropped"

// batchBytes leaves room in a batch for what JSON on the wire has more than a row.
const batchBytes = api.MaxBatchBytes / 2

// upload sends what the reporter wrote down.
type upload struct {
	daemon    *Daemon
	telemetry *journal.Queue
	alerts    *journal.Queue
	missing   bool // look's: the loss was logged
}

// newUpload makes the journal of this gateway's own facts, with the queues of the reports.
func newUpload(ctx context.Context, d *Daemon, limit bounds) (*upload, error) {
	j, err := journal.New(d.local, journal.Options{Clock: d.Clock, Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		Gateway: d.config.Load().Site.Name, Room: "discovery", MaxDelay: time.Minute, Observe: d.journalled})
	if err != nil {
		return nil, err
	}
	if err := renewStreams(ctx, d.local, j, d.db.Recovered()); err != nil {
		return nil, err
	}
	for _, queue := range []string{"telemetry", "alerts"} { // a series that begins at 0 can be compared with its past
		d.metrics.ReportsSent.WithLabelValues(queue)
		d.metrics.ReportsWaiting.WithLabelValues(queue)
		d.metrics.ReportsDropped.WithLabelValues(queue)
	}
	return &upload{
		daemon:    d,
		telemetry: j.Queue("telemetry", limit.telemetry),
		alerts:    j.Queue("alerts", limit.alerts),
	}, nil
}

// journalled counts and logs what became of a delivery.
func (d *Daemon) journalled(e journal.Event) {
	switch e.What {
	case journal.Delivered:
		d.metrics.ReportsSent.WithLabelValues(e.Queue).Add(float64(e.Rows))
	case journal.Undelivered:
		if !errors.Is(e.Err, errNoCloud) {
			d.log.Warn().Err(e.Err).Str(field.Text, e.Queue).Msg(event.CloudUnreachable)
		}
	}
}

// errNoCloud ends a delivery while the configuration names no cloud.
var errNoCloud = errors.New("no cloud is configured")

// run delivers both queues until ctx ends.
func (u *upload) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return u.telemetry.Deliver(ctx, api.MaxBatchItems, batchBytes, u.sendTelemetry) })
	g.Go(func() error { return u.alerts.Deliver(ctx, api.MaxBatchItems, batchBytes, u.sendAlerts) })
	g.Go(func() error { return u.observe(ctx) })
	return g.Wait()
}

// observe keeps the metrics of both queues, and says what they could not hold.
func (u *upload) observe(ctx context.Context) error {
	for {
		u.look(ctx)
		if mfpgate.Wait(ctx, u.daemon.Clock, 15*time.Second) != nil {
			return nil
		}
	}
}

// look is one look of observe.
func (u *upload) look(ctx context.Context) {
	d := u.daemon
	telemetry, err := u.telemetry.Stats(ctx)
	if err != nil {
		return // the store says itself what is wrong with it
	}
	alerts, err := u.alerts.Stats(ctx)
	if err != nil {
		return
	}
	for name, s := range map[string]journal.QueueStats{"telemetry": telemetry, "alerts": alerts} {
		d.metrics.ReportsWaiting.WithLabelValues(name).Set(float64(s.Rows))
		d.metrics.ReportsDropped.WithLabelValues(name).Set(float64(s.Dropped))
	}
	missed := telemetry.Missed + alerts.Missed
	if missed == 0 {
		d.health.clear(ReportsDropped)
		u.missing = false
		return
	}
	text := fmt.Sprintf("too much waited for the cloud: the oldest %d readings and %d alerts were dropped; the newest are kept and sent when it takes them",
		telemetry.Missed, alerts.Missed)
	d.health.set(ReportsDropped, text)
	if !u.missing {
		u.missing = true
		d.log.Warn().Uint64(field.Count, missed).Str(field.Text, text).Msg(event.CloudMissedReports)
	}
}

func (u *upload) sendTelemetry(ctx context.Context, b journal.Batch) (accepted uint64, err error) {
	return send(ctx, u.daemon, b, func(row journal.Row) (api.TelemetryItem, error) {
		var r report.Row
		err := json.Unmarshal(row.Data, &r)
		return api.TelemetryItem{Sequence: row.Seq, DeviceID: string(r.Device), Reading: api.FromReading(r.Reading)}, err
	}, func(c *client.Client, items []api.TelemetryItem) (uint64, error) {
		return c.PostTelemetry(ctx, api.TelemetryBatch{Stream: b.Stream, Items: items})
	})
}

func (u *upload) sendAlerts(ctx context.Context, b journal.Batch) (accepted uint64, err error) {
	return send(ctx, u.daemon, b, func(row journal.Row) (api.AlertItem, error) {
		var a mfpgate.Alert
		err := json.Unmarshal(row.Data, &a)
		return api.AlertItem{Sequence: row.Seq, Alert: api.FromAlert(a)}, err
	}, func(c *client.Client, items []api.AlertItem) (uint64, error) {
		return c.PostAlerts(ctx, api.AlertBatch{Stream: b.Stream, Items: items})
	})
}

// send posts a batch and returns the sequence number behind the last row that the cloud has. What the cloud refuses for its
// content is sent row by row, and the row at fault left out: one bad row must not hold up all that follow.
func send[I any](ctx context.Context, d *Daemon, b journal.Batch, item func(journal.Row) (I, error), post func(*client.Client, []I) (uint64, error)) (uint64, error) {
	cloud := d.config.Load().Cloud
	if cloud.URL == nil {
		return 0, journal.RetryAfter(errNoCloud, time.Minute)
	}
	c, err := d.call(cloud)
	if err != nil {
		return 0, err
	}
	items := make([]I, len(b.Rows))
	for i, row := range b.Rows {
		if items[i], err = item(row); err != nil && i > 0 {
			items = items[:i] // the next batch begins with it
			break
		} else if err != nil {
			d.log.Error().Err(err).Str(field.Text, string(row.Data)).Msg(event.CloudRefusedReport)
			return row.Seq + 1, nil
		}
	}
	last, err := post(c, items)
	if err == nil {
		return last + 1, nil
	}
	if !refusedContent(err) {
		return 0, d.undelivered(err)
	}
	accepted := b.First
	for i := range items {
		if _, err := post(c, items[i:i+1]); err != nil && !regionRefuses(err) {
			return accepted, d.undelivered(err)
		} else if err != nil {
			d.log.Error().Err(err).Str(field.Text, string(b.Rows[i].Data)).Msg(event.CloudRefusedReport)
		}
		accepted = b.Rows[i].Seq + 1
	}
	return accepted, nil
}

// refusedContent reports whether a batch may be refused for what is in it, so that its rows are tried one by one.
func refusedContent(err error) bool {
	if refusal, ok := errors.AsType[*client.Error](err); ok {
		switch refusal.Problem.Status {
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
			return true
		}
	}
	return errors.Is(err, client.ErrBatch)
}

// regionRefuses reports whether the region itself would refuse a row however often it came. What stands between, such as a
// proxy of the site with a word about the size, is no reason to lose it.
func regionRefuses(err error) bool {
	refusal, ok := errors.AsType[*client.Error](err)
	return refusedContent(err) && (!ok || refusal.Reason() != "")
}

// undelivered gives a failure the meaning that it has for the queue: it keeps to the time that the cloud names.
func (d *Daemon) undelivered(err error) error {
	if tokenRefused(err) {
		d.contracts.wake() // which says so
	}
	if refusal, ok := errors.AsType[*client.Error](err); ok && refusal.Reason() == api.StreamEnded {
		return fmt.Errorf("%w: %w", journal.ErrStreamEnded, err)
	}
	if refusal, ok := errors.AsType[*client.Error](err); ok && refusal.RetryAfter > 0 {
		return journal.RetryAfter(err, refusal.RetryAfter)
	}
	return err
}

// renewedKey holds the time of the recovery after which the queues got new streams.
const renewedKey = "journal-renewed"

// renewStreams gives the queues new streams if the store was recovered from a backup: it would use sequence numbers again that
// the cloud has seen, and the cloud would take new reports for old ones. It does so once for each recovery, whatever kills it.
func renewStreams(ctx context.Context, local store.Store, j *journal.Journal, recovery *store.Recovery) error {
	if recovery == nil {
		return nil
	}
	var done time.Time
	err := local.View(ctx, func(s store.Snapshot) error { return store.GetJSON(s, renewedKey, &done) })
	if err == nil && done.Equal(recovery.At) {
		return nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("new streams after a recovery: %w", err)
	}
	if err := j.RenewStreams(ctx); err != nil {
		return err
	}
	return local.Update(ctx, func(tx store.Tx) error { return store.SetJSON(tx, renewedKey, recovery.At) })
}
