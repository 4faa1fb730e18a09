package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/client"
	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/discovery"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// inventory keeps the cloud's list of this gateway's devices true: it compares what the registry has with what the cloud
// acknowledged, and tells the difference. Strangers whom nothing but an address tells of are not told.
type inventory struct {
	daemon  *Daemon
	refused map[mfpgate.DeviceID]time.Time // not before
	cloud   string                         // whose word acked is
	acked   map[mfpgate.DeviceID]*told     // as stored
	again   chan struct{}                  // capacity 1: the configuration was read again
	shown   atomic.Pointer[acknowledged]   // what others may see of the above
}

// acknowledged is what the cloud made of the devices when they were compared last.
type acknowledged struct {
	cloud   string
	modes   map[mfpgate.DeviceID]mode
	refused map[mfpgate.DeviceID]bool
}

// mode is what the cloud must know of a device to tell whose deliveries pass the gateway.
type mode struct {
	monitoring mfpgate.MonitoringMode
	attachment mfpgate.Attachment
}

// show lets others see what the cloud has acknowledged.
func (i *inventory) show() {
	next := &acknowledged{cloud: i.cloud, modes: map[mfpgate.DeviceID]mode{}, refused: map[mfpgate.DeviceID]bool{}}
	for id, t := range i.acked {
		next.modes[id] = mode{mfpgate.MonitoringMode(t.Device.MonitoringMode), mfpgate.Attachment(t.Device.Attachment)}
	}
	for id := range i.refused {
		next.refused[id] = true
	}
	i.shown.Store(next)
	i.daemon.schedule.wake()
	i.daemon.deliveries.Wake()
}

func newInventory(d *Daemon) *inventory {
	return &inventory{daemon: d, refused: map[mfpgate.DeviceID]time.Time{}, again: make(chan struct{}, 1)}
}

// reload makes run tell again at once what was refused: whoever mended it says so by a reload.
func (i *inventory) reload() { poke(i.again) }

// told is what the cloud acknowledged of a device, under "told/" and its id.
type told struct {
	Schema int        `json:"schema"`
	Cloud  string     `json:"cloud"` // whose word it is: URL and gateway id
	ETag   string     `json:"etag"`
	Device api.Device `json:"device"`
}

const (
	toldPrefix = "told/"
	toldSchema = 1
	// tellSeen is how old the cloud's idea of a device's last sign of life may become while the device lives.
	tellSeen = 15 * time.Minute
	// tellAgain is the pause after a refusal of one device, such as one that another gateway has.
	tellAgain = 10 * time.Minute
	// compareEvery is how often all is compared, whatever the registry told meanwhile.
	compareEvery = time.Minute
	// gather is how long changes are gathered before they are told.
	gather = time.Second
)

// run tells until ctx ends.
func (i *inventory) run(ctx context.Context) error {
	d := i.daemon
	changes, stop := d.registry.Watch(1)
	defer stop()
	for failures := 0; ; {
		pause, heard := compareEvery, changes
		if cloud := d.config.Load().Cloud; cloud.URL != nil {
			err := i.compare(ctx, cloud)
			i.show()
			if err != nil && ctx.Err() == nil {
				d.metrics.CloudUp.WithLabelValues("devices").Set(0)
				d.log.Warn().Err(err).Msg(event.CloudUnreachable)
				if tokenRefused(err) {
					d.contracts.wake() // which says so
				}
				pause, heard = min(time.Second<<min(failures, 10), contractRetry), nil
				failures++
			} else {
				d.metrics.CloudUp.WithLabelValues("devices").Set(1)
				failures = 0
			}
		}
		timer := d.Clock.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C():
		case <-i.again:
			timer.Stop()
			clear(i.refused)
		case <-heard:
			timer.Stop()
			if mfpgate.Wait(ctx, d.Clock, gather) != nil {
				return nil
			}
		}
	}
}

// compare tells everything that the cloud does not know yet. An error means that the cloud is away.
func (i *inventory) compare(ctx context.Context, cloud config.Cloud) error {
	d := i.daemon
	c, err := d.call(cloud)
	if err != nil {
		return err
	}
	if err := i.load(ctx, cloudName(cloud)); err != nil {
		return err
	}
	gone := maps.Clone(i.acked)
	now := d.Clock.Now()
	details := d.registry.Details()
	// What the cloud has heard of must be known under the same id after a crash: the registry's records follow behind its memory.
	if err := d.registry.Flush(ctx); err != nil {
		return err
	}
	for _, detail := range details {
		before := i.acked[detail.Device.ID]
		delete(gone, detail.Device.ID)
		if detail.Device.State == mfpgate.DeviceUnknown && before == nil {
			continue
		}
		after := i.wire(detail)
		if before != nil && sameDevice(before.Device, after) || i.refused[detail.Device.ID].After(now) {
			continue
		}
		if err := i.tell(ctx, c, cloud, before, after); err != nil {
			return err
		}
	}
	maps.DeleteFunc(i.refused, func(_ mfpgate.DeviceID, until time.Time) bool { return !until.After(now) })
	for _, t := range gone { // what is left is in the registry no more
		if err := i.withdraw(ctx, c, t); err != nil {
			return err
		}
	}
	return nil
}

// load reads what this cloud has acknowledged, if that is not in memory yet.
func (i *inventory) load(ctx context.Context, cloud string) error {
	if i.cloud == cloud && i.acked != nil {
		return nil
	}
	all := map[mfpgate.DeviceID]*told{}
	err := i.daemon.local.View(ctx, func(s store.Snapshot) error {
		for record, err := range store.All(s, toldPrefix) {
			if err != nil {
				return err
			}
			var t told
			if err := json.Unmarshal(record.Value, &t); err != nil {
				return fmt.Errorf("record %s: %w", record.Key, err)
			}
			if t.Cloud == cloud {
				all[mfpgate.DeviceID(t.Device.DeviceID)] = &t
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read what the cloud was told: %w", err)
	}
	for id := range i.refused { // what another cloud said
		i.daemon.registry.Conflict(id, "")
	}
	clear(i.refused)
	i.cloud, i.acked = cloud, all
	clear(i.refused) // by another cloud
	return nil
}

// wire is a device as the cloud is told of it.
func (i *inventory) wire(detail discovery.Detail) api.Device {
	cfg := i.daemon.config.Load()
	return api.FromDevice(detail.Device, detail.Identity.UUID, cfg.Site.Name, cfg.Site.TimeZone.String())
}

// sameDevice reports whether the cloud knows all of a device, and its last sign of life well enough.
func sameDevice(a, b api.Device) bool {
	if (a.LastSeen == nil) != (b.LastSeen == nil) || a.LastSeen != nil && b.LastSeen.Sub(*a.LastSeen).Abs() >= tellSeen {
		return false
	}
	if (a.Since == nil) != (b.Since == nil) || a.Since != nil && !a.Since.Equal(*b.Since) {
		return false
	}
	a.LastSeen, b.LastSeen, a.Since, b.Since = nil, nil, nil, nil
	return a == b
}

// tell puts one device. A refusal of that device is noted, and is no error.
func (i *inventory) tell(ctx context.Context, c *client.Client, cloud config.Cloud, before *told, after api.Device) error {
	id := mfpgate.DeviceID(after.DeviceID)
	etag := ""
	if before != nil {
		etag = before.ETag
	}
	next, err := c.PutDevice(ctx, after, etag)
	if refusal, ok := errors.AsType[*client.Error](err); ok && refusal.Problem.Status == http.StatusPreconditionFailed {
		// The cloud has another version: of an acknowledgement that was lost, or of an operator. Ours is the newer.
		if _, etag, err = c.Device(ctx, id); err == nil {
			next, err = c.PutDevice(ctx, after, etag)
		} else if status(err) == http.StatusNotFound {
			next, err = c.PutDevice(ctx, after, "")
		}
	}
	switch code := status(err); {
	case err == nil:
		delete(i.refused, id)
		i.daemon.registry.Conflict(id, "")
		t := &told{Schema: toldSchema, Cloud: cloudName(cloud), ETag: next, Device: after}
		i.acked[id] = t
		if before == nil || before.Device.Model != after.Model || before.Device.Serial != after.Serial {
			i.daemon.moves.Told()
		}
		return i.daemon.local.Update(ctx, func(tx store.Tx) error { return store.SetJSON(tx, toldPrefix+after.DeviceID, t) })
	case code == http.StatusConflict || code == http.StatusUnprocessableEntity || code == http.StatusBadRequest:
		i.refused[id] = i.daemon.Clock.Now().Add(tellAgain)
		i.daemon.registry.Conflict(id, err.Error())
		i.daemon.log.Warn().Str(field.Device, after.DeviceID).Str(field.DeviceName, after.Name).Err(err).Msg(event.CloudRefusedDevice)
		return nil
	}
	return err
}

// withdraw takes back a device that the registry does not have any more.
func (i *inventory) withdraw(ctx context.Context, c *client.Client, gone *told) error {
	id := mfpgate.DeviceID(gone.Device.DeviceID)
	err := c.DeleteDevice(ctx, id, gone.ETag)
	if status(err) == http.StatusPreconditionFailed {
		var etag string
		if _, etag, err = c.Device(ctx, id); err == nil {
			err = c.DeleteDevice(ctx, id, etag)
		}
	}
	if err != nil && status(err) != http.StatusNotFound {
		return err
	}
	if err := i.daemon.reporter.Forget(ctx, id); err != nil {
		return err
	}
	delete(i.acked, id)
	return i.daemon.local.Update(ctx, func(tx store.Tx) error { return tx.Delete(toldPrefix + gone.Device.DeviceID) })
}

// status is the status of a cloud's refusal, 0 for any other error.
func status(err error) int {
	if refusal, ok := errors.AsType[*client.Error](err); ok {
		return refusal.Problem.Status
	}
	return 0
}
