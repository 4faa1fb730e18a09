package agent

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
)

// answer is what is open for a device, and its entity tag.
type answer struct {
	items []api.RegistrationRequest
	body  []byte
	etag  string
}

func (d *door) open(ctx context.Context, device mfpgate.DeviceID) (answer, error) {
	list, err := d.Requests.ForDevice(ctx, device)
	if err != nil {
		return answer{}, err
	}
	a := answer{items: make([]api.RegistrationRequest, 0, len(list))}
	for _, g := range list {
		a.items = append(a.items, d.item(g))
	}
	if a.body, err = json.Marshal(api.RegistrationRequests{DeviceID: device, Items: a.items}); err != nil {
		return answer{}, err
	}
	sum := sha256.Sum256(a.body)
	a.etag = `"` + hex.EncodeToString(sum[:12]) + `"`
	return a, nil
}

// requests answers a GET, as one document or as a stream.
func (d *door) requests(w http.ResponseWriter, r *http.Request, by who) {
	stream, ok := wanted(r.Header.Get("Accept"))
	if !ok {
		d.refuse(w, r, by.device, refusal{status: http.StatusNotAcceptable, reason: notAcceptable, detail: "application/json and text/event-stream are served"})
		return
	}
	wait, err := strconv.Atoi(cmp.Or(r.URL.Query().Get("wait"), "0"))
	if err != nil || wait < 0 || wait > api.MaxRequestWait {
		d.refuse(w, r, by.device, refusal{status: http.StatusUnprocessableEntity, reason: invalid, detail: "wait is a number of seconds from 0 to 60",
			faults: []api.ProblemError{{Pointer: "query.wait", Code: "must be 0 to 60"}}})
		return
	}
	now, err := d.open(r.Context(), by.device)
	if err != nil {
		d.refuse(w, r, by.device, broken(err))
		return
	}
	if len(now.items) == 0 && !d.Devices.RegistersItself(by.device) {
		d.refuse(w, r, by.device, refusal{status: http.StatusForbidden, reason: notAgent,
			detail: "the gateway registers this device itself; say registration: agent of it in devices.static or devices.ranges"})
		return
	}
	if stream {
		d.stream(w, r, by)
		return
	}
	d.poll(w, r, by, now, time.Duration(wait)*time.Second)
}

// wanted reads Accept: a stream, or a document.
func wanted(accept string) (stream, ok bool) {
	if accept == "" {
		return false, true
	}
	for part := range strings.SplitSeq(accept, ",") {
		switch kind, _, _ := mime.ParseMediaType(strings.TrimSpace(part)); kind {
		case "text/event-stream":
			return true, true
		case "application/json", "application/*", "*/*":
			ok = true
		}
	}
	return false, ok
}

// poll answers once there is anything that the device has not been told, or when its wait is over.
func (d *door) poll(w http.ResponseWriter, r *http.Request, by who, now answer, wait time.Duration) {
	known := r.Header.Get("If-None-Match")
	if wait > 0 && !news(now, known) {
		ctx, leave, ok := d.waiting.enter(r.Context(), by.device)
		if ok {
			defer leave()
			d.allow(w, wait)
			var err error
			if now, err = d.awaitNews(ctx, by, now, known, wait); err != nil {
				d.refuse(w, r, by.device, broken(err))
				return
			}
		} else {
			w.Header().Set("Retry-After", strconv.Itoa(int(comeAgain/time.Second)))
		}
	}
	w.Header().Set("ETag", now.etag)
	if matches(known, now.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(now.body)
}

// news reports whether an answer is worth giving at once: to who names what he has, another one; to who names nothing, one that is
// not empty.
func news(a answer, known string) bool {
	if known == "" {
		return len(a.items) > 0
	}
	return !matches(known, a.etag)
}

// matches compares entity tags weakly (RFC 9110 §13.1.2).
func matches(list, etag string) bool {
	for tag := range strings.SplitSeq(list, ",") {
		if strings.TrimPrefix(strings.TrimSpace(tag), "W/") == etag {
			return true
		}
	}
	return false
}

// awaitNews returns the present answer when it is news, when ctx ends, and after wait.
func (d *door) awaitNews(ctx context.Context, by who, now answer, known string, wait time.Duration) (answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer d.Clock.AfterFunc(wait, cancel)()
	for range d.Requests.Changes(ctx) {
		next, err := d.open(ctx, by.device)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return answer{}, err
		}
		if now = next; news(now, known) {
			break
		}
	}
	return now, nil
}

// allow lets an answer take longer than the server's own limits. Its read limit would end a request that is held back, although that
// has been read whole: the server reads on, to see whether the other side has gone.
func (d *door) allow(w http.ResponseWriter, wait time.Duration) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{}) // what cannot be set leaves the server's limits, which end the request early
	_ = c.SetWriteDeadline(d.Clock.Now().Add(wait + slack))
}
