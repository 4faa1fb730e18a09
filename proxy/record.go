package proxy

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/slots"
	"github.com/mfpgate/mfpgate/proxy/tunnel"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// Refusal is one refused request or tunnel, as the portal lists it.
type Refusal struct {
	Time        time.Time        `json:"time"`
	Device      mfpgate.DeviceID `json:"deviceId"`
	DeviceName  string           `json:"deviceName"`
	Client      string           `json:"client"`
	Destination string           `json:"destination"`
	Reason      mfpgate.Reason   `json:"reason"`
}

// Transfer is one tunnel or request that has ended, from when the device was let in.
type Transfer struct {
	Device       mfpgate.DeviceID // as a schedule names it: by the inner gateway's id, where one named it
	Began, Ended time.Time
	Up, Down     int64 // bytes from the device, and to it
}

const keptRefusals = 100

// record turns what happened into the canonical events, the metrics and the list of refusals.
type record struct {
	relay *Relay

	mu       sync.Mutex
	refusals [keptRefusals]Refusal // a ring
	next     int

	counted sync.Mutex // holds each exchange's counted bytes
	moved   [paths]telemetry.Counter
}

func newRecord(r *Relay) *record {
	rec := &record{relay: r}
	for i, labels := range [paths][2]string{upSpliced: {up, splice}, upCopied: {up, copied}, downSpliced: {down, splice}, downCopied: {down, copied}} {
		rec.moved[i] = r.Metrics.RelayBytes.WithLabelValues(labels[:]...)
	}
	return rec
}

// exchange is one request or tunnel, from its head to its event.
type exchange struct {
	record   *record
	from     netip.AddrPort
	method   string
	device   device
	host     mfpgate.Host
	port     uint16
	rule     string
	way      way
	strayed  atomic.Bool // counted as one that its routes do not let pass as it is
	crossing *crossing   // nil until the last gate, and without Routes
	via      []string    // of a CONNECT, for the upstream proxy
	slot     *slots.Conn
	began    time.Time
	queued   time.Duration
	dialled  time.Duration

	reported [paths]int64 // bytes in the metrics so far
}

func (r *record) start(from netip.AddrPort, method string) *exchange {
	return &exchange{record: r, from: from, method: method, began: r.relay.clock.Now()}
}

func (r *record) dialFailed(no *refusal) {
	if no.reason != ClientLeft && no.reason != Stopping && !no.routed {
		r.relay.Metrics.RelayDialErrors.WithLabelValues(string(no.reason)).Inc()
	}
}

// refused ends an exchange that got nothing.
func (x *exchange) refused(no *refusal) {
	r := x.record
	r.relay.Metrics.RelayRefusals.WithLabelValues(string(no.reason)).Inc()
	e := x.log().Info().
		Str(field.Device, string(x.device.id)).Str(field.DeviceName, x.device.name).
		Str(field.Client, x.from.String()).
		Str(field.Method, x.method).
		Str(field.Destination, x.destination()).
		Str(field.Rule, x.ruleOrDefault(no)).
		Str(field.Reason, string(no.reason)).
		Int(field.Status, no.status()).
		Int64(field.Queued, x.queued.Milliseconds()).
		Int64(field.Duration, r.relay.clock.Now().Sub(x.began).Milliseconds())
	if no.err != nil {
		e = e.AnErr(field.Error, no.err)
	}
	e.Msg(event.RelayRefused)
	r.list(x, no.reason)
}

// list keeps a refusal for who asks for the latest.
func (r *record) list(x *exchange, why mfpgate.Reason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusals[r.next%keptRefusals] = Refusal{Time: r.relay.clock.Now(), Device: x.device.id, DeviceName: x.device.name,
		Client: x.from.Addr().String(), Destination: x.destination(), Reason: why}
	r.next++
}

// ruleOrDefault names the configuration key that decided.
func (x *exchange) ruleOrDefault(no *refusal) string {
	if x.rule != "" {
		return x.rule
	}
	switch no.reason {
	case ClientNotAllowed:
		return "relay.clients"
	case UnknownDevice, NeedsAccount:
		return "relay.unknown_devices"
	case BadAccount, AccountThrottled:
		return "relay.accounts"
	case NotAllowed, HostSpelling:
		return "relay.allow"
	}
	return ""
}

// closed ends a tunnel.
func (x *exchange) closed(t *tunnel.Tunnel) {
	r := x.record
	up, down, spliced := t.Bytes()
	why := string(t.Reason())
	r.collect([]*tunnel.Tunnel{t})
	r.relay.Metrics.RelayTunnelsTotal.WithLabelValues(why).Inc()
	r.relay.Metrics.RelayTunnelDuration.Observe(t.Age().Seconds())
	x.log().Info().
		Str(field.Device, string(x.device.id)).Str(field.DeviceName, x.device.name).
		Str(field.Client, x.from.String()).
		Str(field.Method, x.method).
		Str(field.Destination, x.destination()).
		Str(field.Rule, x.rule).
		Str(field.Outcome, why).
		Int64(field.BytesUp, up).Int64(field.BytesDown, down).Int64(field.Spliced, spliced).
		Int64(field.Queued, x.queued.Milliseconds()).Int64(field.Dialled, x.dialled.Milliseconds()).
		Int64(field.Duration, t.Age().Milliseconds()).
		Msg(event.RelayClosed)
	x.transferred(t.Age(), up, down)
}

// log is the relay's, which says where the exchange was led, if that is not where it asked for.
func (x *exchange) log() *telemetry.Logger {
	log := &x.record.relay.Log
	if to := x.forwarded(); to != "" {
		led := log.With().Str(field.Forwarded, to).Logger()
		return &led
	}
	return log
}

// served ends a plain request that reached its origin.
func (x *exchange) served(outcome string, status int, up, down int64) {
	x.answered(outcome, status, up, down)
	x.transferred(x.record.relay.clock.Now().Sub(x.began)-x.queued, up, down)
}

// answered writes the event of a plain request that was not refused.
func (x *exchange) answered(outcome string, status int, up, down int64) {
	r := x.record
	m := r.relay.Metrics
	m.RelayRequestsTotal.WithLabelValues(outcome).Inc()
	x.log().Info().
		Str(field.Device, string(x.device.id)).Str(field.DeviceName, x.device.name).
		Str(field.Client, x.from.String()).
		Str(field.Method, x.method).
		Str(field.Destination, x.destination()).
		Str(field.Rule, x.rule).
		Str(field.Outcome, outcome).
		Int(field.Status, status).
		Int64(field.BytesUp, up).Int64(field.BytesDown, down).
		Int64(field.Queued, x.queued.Milliseconds()).
		Int64(field.Duration, r.relay.clock.Now().Sub(x.began).Milliseconds()).
		Msg(event.RelayServed)
}

// transferred tells who wants to know.
func (x *exchange) transferred(took time.Duration, up, down int64) {
	if tell := x.record.relay.Transferred; tell != nil {
		now := x.record.relay.clock.Now()
		tell(Transfer{Device: scheduled(x.device.key), Began: now.Add(-took), Ended: now, Up: up, Down: down})
	}
}

const (
	up, down       = "up", "down"
	splice, copied = "splice", "copy"
)

// How bytes are moved, as mfpgate_relay_bytes_total tells them apart.
const (
	upSpliced = iota
	upCopied
	downSpliced
	downCopied
	paths // how many these are
)

// collect adds to the metrics what the tunnels have moved since the last time, so that a download of an hour shows while
// it runs.
func (r *record) collect(tunnels []*tunnel.Tunnel) {
	r.counted.Lock()
	defer r.counted.Unlock()
	for _, t := range tunnels {
		x, ok := t.Owner.(*exchange)
		if !ok {
			continue
		}
		var now [paths]int64
		now[upSpliced], now[upCopied] = t.ByPath(true)
		now[downSpliced], now[downCopied] = t.ByPath(false)
		for i, counter := range r.moved {
			if moved := now[i] - x.reported[i]; moved > 0 {
				counter.Add(float64(moved))
			}
		}
		x.reported = now
	}
}

func (r *record) latest() []Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Refusal, 0, min(r.next, keptRefusals))
	for i := r.next - 1; i >= 0 && i >= r.next-keptRefusals; i-- {
		list = append(list, r.refusals[i%keptRefusals])
	}
	return list
}
