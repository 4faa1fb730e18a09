package daemon

import (
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// What a transfer was.
const (
	transferDelivery     = "delivery"
	transferUnclassified = "unclassified"
)

// transferLife is how long the delivery system has to say that a transfer was a delivery.
const transferLife = 3 * 24 * time.Hour

// maxWaiting bounds the transfers that wait for that word; beyond, they are unclassified at once.
const maxWaiting = 20_000

// transfers counts what came through the relay: a transfer is a delivery once the delivery system says that one of its device's
// is done which was due then and not larger, and unclassified if none can be, or none was within transferLife.
type transfers struct {
	schedule *schedule

	mu      sync.Mutex
	waiting map[transferKey]time.Time // when each ended
	due     map[mfpgate.DeviceID]int64
	dueOf   time.Time // the snapshot's Now
}

type transferKey struct {
	device mfpgate.DeviceID
	began  int64
}

func keyOf(device mfpgate.DeviceID, began time.Time) transferKey {
	return transferKey{device, began.UnixNano()}
}

// ended is told by the relay.
func (t *transfers) ended(x proxy.Transfer) {
	if x.Down <= 0 {
		return
	}
	t.schedule.Transferred(x.Device, x.Began, x.Ended, x.Down)
	t.mu.Lock()
	defer t.mu.Unlock()
	if least, due := t.least()[x.Device]; due && x.Down >= least && len(t.waiting) < maxWaiting {
		if t.waiting == nil {
			t.waiting = map[transferKey]time.Time{}
		}
		t.waiting[keyOf(x.Device, x.Began)] = x.Ended
		return
	}
	t.count(transferUnclassified)
}

// least is the size of each device's smallest delivery that is not done, as the present plan has them.
func (t *transfers) least() map[mfpgate.DeviceID]int64 {
	snapshot, _, ok := t.schedule.Snapshot()
	if !ok || snapshot.Now.Equal(t.dueOf) {
		return t.due
	}
	t.due, t.dueOf = map[mfpgate.DeviceID]int64{}, snapshot.Now
	for _, d := range snapshot.Deliveries {
		if d.Bytes <= 0 || d.State != mfpgate.DeliveryPlanned && d.State != mfpgate.DeliveryRunning {
			continue
		}
		if least, there := t.due[d.Device]; !there || d.Bytes < least {
			t.due[d.Device] = d.Bytes
		}
	}
	return t.due
}

// confirmed is told by the scheduler.
func (t *transfers) confirmed(d mfpgate.Delivery, began, ended time.Time, down int64) {
	t.mu.Lock()
	delete(t.waiting, keyOf(d.Device, began))
	t.mu.Unlock()
	t.count(transferDelivery)
	t.schedule.daemon.log.Info().Str(field.Device, string(d.Device)).Str(field.Delivery, d.ID).Str(field.Outcome, transferDelivery).
		Int64(field.BytesDown, down).Int64(field.Limit, d.Bytes).Int64(field.Duration, ended.Sub(began).Milliseconds()).Msg(event.RelayConfirmed)
}

// sweep gives up on what nobody confirmed.
func (t *transfers) sweep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.schedule.daemon.Clock.Now()
	for key, ended := range t.waiting {
		if now.Sub(ended) > transferLife {
			delete(t.waiting, key)
			t.count(transferUnclassified)
		}
	}
}

func (t *transfers) count(kind string) {
	t.schedule.daemon.metrics.RelayTransfers.WithLabelValues(kind).Inc()
}
