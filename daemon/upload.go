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
const (
	telemetryRows  = 100_000
	telemetryBytes = 64 << 20
	alertRows      = 100_000
	alertBytes     = 32 << 20
)

// batchBytes leaves room in a batch for what JSON on the wire has more than a row.
const batchBytes = api.MaxBatchBytes / 2

// upload sends what the reporter wrote down.
type upload struct {
	daemon    *Daemon
	telemetry *journal.Queue
	alerts    *journal.Queue
}

// newJournal makes the journal of this gateway's own facts, with the queues of the reports.
func newJournal(ctx context.Context, d *Daemon) (*upload, error) {
	j, err := journal.New(d.local, journal.Options{Clock: d.Clock, Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		Gateway: d.config.Load().Site.Name, Room: "discovery", MaxDelay: time.Minute, Observe: d.journalled})
	if err != nil {
		return nil, err
	}
	for _, queue := range []string{"telemetry", "alerts"} { // a series that begins at 0 can be compared with its past
		d.metrics.ReportsSent.WithLabelValues(queue)
		d.metrics.ReportsWaiting.WithLabelValues(queue)
		d.metrics.ReportsDropped.WithLabelValues(queue)
	}
	u := &upload{
		daemon:    d,
		telemetry: j.Queue("telemetry", journal.QueueOptions{MaxRows: telemetryRows, MaxBytes: telemetryBytes, Overflow: journal.DropOldest}),
		alerts:    j.Queue("alerts", journal.QueueOptions{MaxRows: alertRows, MaxBytes: alertBytes, Overflow: journal.DropOldest}),
	}
	return u, u.renew(ctx, j)
}

// renewedKey holds the time of the recovery whose streams are renewed.
const renewedKey = "renewed"

// renew begins new streams once after the store was put back to a backup: the cloud may have more of the old ones than the
// store knows of, and would take what comes now for what it has.
func (u *upload) renew(ctx context.Context, j *journal.Journal) error {
	recovered := u.daemon.db.Recovered()
	if recovered == nil {
		return nil
	}
	var renewed time.Time
	err := u.daemon.local.View(ctx, func(s store.Snapshot) error { return store.GetJSON(s, renewedKey, &renewed) })
	if err != nil && !errors.Is(err, store.ErrNotFound) || renewed.Equal(recovered.At) {
		return err
	}
	if err := j.RenewStreams(ctx); err != nil {
		return fmt.Errorf("renew the streams of a recovered store: %w", err)
	}
	return u.daemon.local.Update(ctx, func(tx store.Tx) error { return store.SetJSON(tx, renewedKey, recovered.At) })
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

// observe keeps the metrics of both queues.
func (u *upload) observe(ctx context.Context) error {
	m := u.daemon.metrics
	for {
		for name, q := range map[string]*journal.Queue{"telemetry": u.telemetry, "alerts": u.alerts} {
			s, err := q.Stats(ctx)
			if err != nil {
				continue // the store says itself what is wrong with it
			}
			m.ReportsWaiting.WithLabelValues(name).Set(float64(s.Rows))
			m.ReportsDropped.WithLabelValues(name).Set(float64(s.Dropped))
		}
		if mfpgate.Wait(ctx, u.daemon.Clock, 15*time.Second) != nil {
			return nil
		}
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
		if items[i], err = item(row); err != nil {
			return 0, fmt.Errorf("row %d: %w", row.Seq, err)
		}
	}
	last, err := post(c, items)
	if err == nil {
		return last + 1, nil
	}
	if !refusedContent(err) {
		return 0, retryAfter(err)
	}
	accepted := b.First
	for i := range items {
		if _, err := post(c, items[i:i+1]); err != nil && !refusedContent(err) {
			return accepted, retryAfter(err)
		} else if err != nil {
			d.log.Error().Err(err).Str(field.Text, string(b.Rows[i].Data)).Msg(event.CloudRefusedReport)
		}
		accepted = b.Rows[i].Seq + 1
	}
	return accepted, nil
}

// refusedContent reports whether a batch would be refused however often it came.
func refusedContent(err error) bool {
	if refusal, ok := errors.AsType[*client.Error](err); ok {
		switch refusal.Problem.Status {
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
			return true
		}
	}
	return errors.Is(err, client.ErrBatch)
}

// retryAfter keeps to the time that the cloud names.
func retryAfter(err error) error {
	if refusal, ok := errors.AsType[*client.Error](err); ok && refusal.RetryAfter > 0 {
		return journal.RetryAfter(err, refusal.RetryAfter)
	}
	return err
}
