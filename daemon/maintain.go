package daemon

import (
	"context"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// BackupFailed is the degradation while the last nightly backup is missing.
const BackupFailed mfpgate.Reason = "backup-failed"

// nightly is when the store is backed up and swept, in the site's local time: after the day's work, before firmware hours.
const nightly = "40 0 * * *"

// maintain backs the store up every night, which is what a damaged store is recovered from.
func (d *Daemon) maintain(ctx context.Context) error {
	when, err := calendar.ParseCron(nightly, d.config.Load().Site.TimeZone, calendar.Policy{})
	if err != nil {
		return err
	}
	for {
		now := d.Clock.Now()
		next := when.Next(now)
		// A sleep of at most half a minute notices a wall clock that was set, and a machine that slept.
		if mfpgate.Wait(ctx, d.Clock, min(next.Sub(now), 30*time.Second)) != nil {
			return nil
		}
		if d.Clock.Now().Before(next) {
			continue
		}
		d.backup(ctx)
	}
}

func (d *Daemon) backup(ctx context.Context) {
	file, err := d.db.Backup(ctx)
	if err == nil {
		err = d.db.CollectGarbage(ctx)
	}
	if err != nil {
		d.health.set(BackupFailed, "the nightly backup failed: "+err.Error())
		d.log.Error().Err(err).Msg(event.DaemonDegraded)
		return
	}
	d.health.clear(BackupFailed)
	d.log.Info().Str(field.File, file).Msg(event.StoreBackedUp)
}
