package scheduler

import (
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
)

const (
	// A transfer that began a little before the planned start may still be its delivery: clocks differ.
	early = 15 * time.Minute
	// maxTransfers bounds what waits to be confirmed, of one device and of all; the oldest go first.
	maxTransfers, maxTransfersAll = 16, 20_000
	// transferLife is how long a transfer may wait for the delivery system's word.
	transferLife = 3 * day
)

// transfer is a tunnel that may have been a delivery.
type transfer struct {
	began, ended time.Time
	bytes        int64
}

// transfers are the tunnels that ended lately. They are kept in memory alone: what a restart forgets is learned from the next.
type transfers struct {
	mu  sync.Mutex
	of  map[mfpgate.DeviceID][]transfer
	all int
}

// Transferred notes that a device's tunnel ended, and how many bytes came down through it. It counts as a delivery, from which
// durations are learned, only once the delivery system says that one of the device's is done which was due then and not larger.
func (s *Scheduler) Transferred(device mfpgate.DeviceID, began, ended time.Time, down int64) {
	if down <= 0 || !ended.After(began) {
		return
	}
	t := &s.transfers
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.of[device]
	switch {
	case len(list) >= maxTransfers:
		list = append(list[:0:0], list[1:]...)
		t.all--
	case t.all >= maxTransfersAll:
		t.drop(ended.Add(-transferLife))
		if t.all >= maxTransfersAll {
			return
		}
		list = t.of[device]
	}
	t.of[device] = append(list, transfer{began, ended, down})
	t.all++
}

// drop forgets what ended before.
func (t *transfers) drop(before time.Time) {
	for id, list := range t.of {
		var kept []transfer
		for _, x := range list {
			if !x.ended.Before(before) {
				kept = append(kept, x)
			}
		}
		t.all -= len(list) - len(kept)
		if t.of[id] = kept; len(kept) == 0 {
			delete(t.of, id)
		}
	}
}

// transfer finds, and takes away, the one that brought a delivery which is done now and was not before.
func (s *Scheduler) transfer(d mfpgate.Delivery, now time.Time) (transfer, bool) {
	before, known := s.deliveries[d.ID]
	if !known || before.State == mfpgate.DeliveryDone || d.State != mfpgate.DeliveryDone || d.Bytes <= 0 {
		return transfer{}, false
	}
	due, ok := s.begin(before, now)
	if !ok {
		return transfer{}, false
	}
	t := &s.transfers
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.of[d.Device]
	for i, x := range list {
		if x.bytes >= d.Bytes && !x.began.Before(due.Add(-early)) && !x.ended.After(now.Add(early)) {
			t.of[d.Device] = append(append([]transfer(nil), list[:i]...), list[i+1:]...)
			t.all--
			return x, true
		}
	}
	return transfer{}, false
}
