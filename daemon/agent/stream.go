package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
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

	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	out := &events{door: d, w: w, control: http.NewResponseController(w)}
	d.allow(w, 0)
	beat := d.Clock.NewTimer(Beat)
	defer beat.Stop()
	for out.write(": here\n\n") {
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

// events writes a stream.
type events struct {
	door    *door
	w       http.ResponseWriter
	control *http.ResponseController
	told    map[string]string // what was said of each open request; nil before the first time
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
		if e.told[item.RegistrationID] != string(data) && !e.write(fmt.Sprintf("event: %s\ndata: %s\n\n", api.EventRequest, data)) {
			return false
		}
	}
	if e.told != nil && maps.Equal(open, e.told) {
		return true
	}
	e.told = open
	data, err := json.Marshal(api.OpenRequests{DeviceID: by.device, RegistrationIDs: ids})
	return err == nil && e.write(fmt.Sprintf("event: %s\ndata: %s\n\n", api.EventOpen, data))
}

// write sends at once. Each piece has its own deadline, so that a device that reads no more costs a connection for seconds.
func (e *events) write(text string) bool {
	_ = e.control.SetWriteDeadline(e.door.Clock.Now().Add(slack)) // where it cannot be set, the server's own limit ends the stream
	if _, err := e.w.Write([]byte(text)); err != nil {
		return false
	}
	return e.control.Flush() == nil
}
