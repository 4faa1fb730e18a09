package agent

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/api/sse"
)

// stream is the session that a device keeps open: each request that is open, then what changes, and a sign of life at every beat.
func (d *door) stream(w http.ResponseWriter, r *http.Request, by who) {
	ctx, leave, ok := d.waiting.enter(r.Context(), by.device)
	if !ok {
		d.refuse(w, r, by.device, refusal{status: http.StatusServiceUnavailable, reason: tooMany, after: strconv.Itoa(int(comeAgain / time.Second)),
			detail: "too many devices wait here; ask without a stream meanwhile"})
		return
	}
	defer d.Clock.AfterFunc(MaxStream, leave)()
	changed := make(chan struct{}, 1)
	var watcher sync.WaitGroup
	watcher.Go(func() { // ends with ctx, which leave ends
		for range d.Requests.Changes(ctx) {
			select {
			case changed <- struct{}{}:
			default: // one waits already
			}
		}
	})
	defer watcher.Wait()
	defer leave() // runs first

	out := &events{Stream: sse.Open(w), door: d}
	beat := d.Clock.NewTimer(Beat)
	defer beat.Stop()
	for out.Comment("here") == nil {
		select {
		case <-ctx.Done():
			return
		case <-beat.C():
			beat.Reset(Beat)
		case <-changed:
			if !out.changes(ctx, by) {
				return
			}
		}
	}
}

// events is a stream that knows what it has told.
type events struct {
	*sse.Stream
	door *door
	told map[string]string // what was said of each open request; nil before the first time
}

// changes tells what the device has not been told. It reports false when the stream is to end.
func (e *events) changes(ctx context.Context, by who) bool {
	now, err := e.door.open(ctx, by.device)
	if err != nil {
		return false // the device comes again, and gets the refusal
	}
	open := map[string]string{}
	ids := make([]string, 0, len(now.items))
	for _, item := range now.items {
		data, err := json.Marshal(item)
		if err != nil {
			return false
		}
		ids, open[item.RegistrationID] = append(ids, item.RegistrationID), string(data)
		if e.told[item.RegistrationID] != string(data) && e.Event(api.EventRequest, data) != nil {
			return false
		}
	}
	if e.told != nil && maps.Equal(open, e.told) {
		return true
	}
	e.told = open
	data, err := json.Marshal(api.OpenRequests{DeviceID: by.device, RegistrationIDs: ids})
	return err == nil && e.Event(api.EventOpen, data) == nil
}
