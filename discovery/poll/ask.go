package poll

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery"
	"github.com/mfpgate/mfpgate/discovery/ipp"
	"github.com/mfpgate/mfpgate/discovery/snmp"
)

const (
	// patience is how long one question may take, with everything that it needs. Together with identify's a device that does
	// not answer is known to be away after twice that.
	patience = 5 * time.Second
	// secondTry is how long after a failure that may pass at once the device is asked again.
	secondTry = time.Second
)

// ask is one turn of a device.
func (p *Poller) ask(ctx context.Context, j *job) {
	t, ok := p.Devices.Target(j.id)
	if !ok {
		return
	}
	now, every := p.now(), p.Intervals()
	parts := mfpgate.PartStatus
	if due(now, j.supplies, every.Supplies) {
		parts |= mfpgate.PartSupplies
	}
	if t.Mode == mfpgate.MonitoringPolling && due(now, j.counters, every.Counters) {
		parts |= mfpgate.PartCounters
	}
	var failure error
	p.Devices.Asking(j.id)
	if t.Suspect || due(now, j.who, identifyEvery) || t.Ways[0].Sighting == "" {
		if failure = p.identify(ctx, t); failure == nil {
			j.who = now
		}
		if t, ok = p.Devices.Target(j.id); !ok {
			return // it turned out to be another device, which has a turn of its own
		}
	}
	device, reading, err := p.read(ctx, t, parts)
	if err != nil && t.Ways[0].Sighting != "" && ctx.Err() == nil {
		// It used to answer, and does not: it may be somewhere else, or have been away for a moment.
		if !j.failed && worthASecondTry(err) && mfpgate.Wait(ctx, p.Clock, secondTry) != nil {
			return
		}
		if p.identify(ctx, t) == nil {
			if t, ok = p.Devices.Target(j.id); !ok {
				return
			}
			device, reading, err = p.read(ctx, t, parts)
		}
	}
	if ctx.Err() != nil || err != nil && reason(err) == discovery.USBOpening { // it is told of again when it is open
		return
	}
	j.failed = err != nil
	if err == nil {
		defer p.count("answered")
		if parts.Has(mfpgate.PartSupplies) {
			j.supplies = now
		}
		if parts.Has(mfpgate.PartCounters) {
			j.counters = now
		}
		p.Took(ctx, device, reading)
		return
	}
	if errors.Is(err, errNoWay) && failure != nil {
		err = failure
	}
	why := reason(err)
	defer p.count(string(why)) // last: whoever sees the count can see what it brought
	if device, ok := p.Devices.Failed(t.ID, why); ok {
		p.Took(ctx, device, mfpgate.Reading{})
	}
}

// due reports whether something that was asked for last at some time is to be asked for again. A time that lies ahead was told
// by a clock that was set back since.
func due(now, last time.Time, every time.Duration) bool {
	return now.Sub(last) >= every || last.After(now)
}

func (p *Poller) count(outcome string) {
	p.Metrics.DiscoveryPolls.WithLabelValues(outcome).Inc()
}

var (
	errNoWay   = errors.New("nothing has answered yet")
	errSNMPOff = errors.New("SNMP is off")
	errUSBOff  = errors.New("USB is off")
)

// read asks the ways that have answered before, each for the parts that the ones before it did not have. The first that fails
// ends it: the others are asked together then, by identify.
func (p *Poller) read(ctx context.Context, t discovery.Target, parts mfpgate.Parts) (device mfpgate.Device, all mfpgate.Reading, err error) {
	answered := false
	for _, w := range t.Ways {
		missing := parts &^ having(all)
		if w.Sighting == "" || answered && missing == 0 {
			continue
		}
		reading, err := p.one(ctx, w, missing)
		if err != nil && !answered {
			return device, all, err
		}
		if err != nil {
			continue
		}
		if d, ok := p.Devices.Answered(w.Sighting, reading); ok {
			device, answered = d, true
			all = join(all, reading)
		}
	}
	if !answered {
		return device, all, errNoWay
	}
	return device, all, nil
}

// one asks in one way.
func (p *Poller) one(ctx context.Context, w discovery.Way, parts mfpgate.Parts) (reading mfpgate.Reading, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	switch {
	case w.Endpoint.Protocol == mfpgate.ProtocolUSB && p.USB != nil:
		reading, err = p.USB.Read(ctx, w.Endpoint.Path, parts)
	case w.Endpoint.Protocol == mfpgate.ProtocolUSB:
		err = errUSBOff
	case w.Endpoint.Protocol != mfpgate.ProtocolSNMP:
		reading, err = p.IPP.Read(ctx, w.Endpoint, parts)
	case p.SNMP != nil:
		reading, err = p.SNMP.Read(ctx, w.Endpoint.Address.Addr(), parts)
		err = silent(err)
	default:
		err = errSNMPOff
	}
	reading.At = p.Clock.Now()
	return reading, err
}

func having(r mfpgate.Reading) (parts mfpgate.Parts) {
	if r.Status != nil {
		parts |= mfpgate.PartStatus
	}
	if r.Supplies != nil {
		parts |= mfpgate.PartSupplies
	}
	if r.Counters != nil {
		parts |= mfpgate.PartCounters
	}
	return parts
}

// join fills in what the first way did not say.
func join(a, b mfpgate.Reading) mfpgate.Reading {
	if a.Status == nil {
		a.Status = b.Status
	}
	if a.Supplies == nil {
		a.Supplies = b.Supplies
	}
	if a.Counters == nil {
		a.Counters = b.Counters
	}
	if a.Firmware == "" {
		a.Firmware = b.Firmware
	}
	a.At = b.At
	return a
}

// identify asks who answers in every way, old and new, in all at once: a device that is away costs the time of one. It returns
// the failure of the first way, nil if any answered. A way that does not answer any more, while another does, is a place that
// the device has left.
func (p *Poller) identify(ctx context.Context, t discovery.Target) error {
	type result struct {
		sighting mfpgate.Sighting
		err      error
	}
	results := make([]result, len(t.Ways))
	var asked sync.WaitGroup
	for i, w := range t.Ways {
		asked.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			results[i].sighting, results[i].err = p.who(ctx, w)
		})
	}
	asked.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var first error
	answered := false
	for _, r := range results {
		if r.err == nil {
			answered = true
			if r.sighting.ID != "" {
				p.Devices.Sight(r.sighting)
			}
		} else if first == nil {
			first = r.err
		}
	}
	if !answered {
		for _, r := range results {
			if reason(first) == discovery.Refused && errors.Is(r.err, snmp.ErrSilent) {
				return r.err // there is something, and it is no IPP that is missing: one without IPP is asked over SNMP
			}
		}
		return first
	}
	for i, w := range t.Ways {
		if results[i].err != nil && w.Sighting != "" {
			p.Devices.Unanswered(w.Sighting)
		}
	}
	return nil
}

func (p *Poller) who(ctx context.Context, w discovery.Way) (mfpgate.Sighting, error) {
	switch {
	case w.Endpoint.Protocol == mfpgate.ProtocolUSB: // its port's sighting has all that it says of itself
		_, err := p.one(ctx, w, 0)
		return mfpgate.Sighting{}, err
	case w.Sighting.Source() == mfpgate.SourceUSB:
		s, err := p.IPP.Identify(ctx, w.Endpoint)
		return discovery.AskedOverUSB(w.Sighting, s), err
	case w.Endpoint.Protocol == mfpgate.ProtocolSNMP && p.SNMP == nil:
		return mfpgate.Sighting{}, errSNMPOff
	case w.Endpoint.Protocol == mfpgate.ProtocolSNMP:
		s, err := p.SNMP.Identify(ctx, w.Endpoint.Address.Addr())
		return s, silent(err)
	case w.Endpoint.Address.Port() == 0:
		return p.IPP.Find(ctx, w.Endpoint.Address.Addr())
	}
	return p.IPP.Identify(ctx, w.Endpoint)
}

// silent is the error of a question over SNMP, whose own patience with versions and repeats is longer than ours: that ours
// ran out says the same.
func silent(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return snmp.ErrSilent
	}
	return err
}

// worthASecondTry leaves out what stays so for longer than a moment.
func worthASecondTry(err error) bool {
	switch reason(err) {
	case discovery.Refused, discovery.NoRoute, discovery.BadAnswer: // the others have waited already
		return true
	}
	return false
}

// reason gives a failure its one word.
func reason(err error) mfpgate.Reason {
	if said, ok := errors.AsType[interface {
		error
		Reason() mfpgate.Reason
	}](err); ok {
		return said.Reason()
	}
	for _, c := range []struct {
		is  error
		why mfpgate.Reason
	}{
		{syscall.EHOSTUNREACH, discovery.NoRoute},
		{syscall.ENETUNREACH, discovery.NoRoute},
		{syscall.EHOSTDOWN, discovery.NoRoute},
		{syscall.ECONNREFUSED, discovery.Refused},
		{syscall.ECONNRESET, discovery.Refused}, // taken and broken off: by a forwarder, or a service that goes down
		{syscall.EPIPE, discovery.Refused},
		{errSNMPOff, discovery.SNMPOff},
		{errUSBOff, discovery.USBOff},
		{snmp.ErrSilent, discovery.SNMPSilent},
		{snmp.ErrCredentials, discovery.NotAuthorized},
		{snmp.ErrNotPrinter, discovery.NotAPrinter},
		{ipp.ErrAuth, discovery.NotAuthorized},
		{ipp.ErrTLS, discovery.TLSFailed},
		{ipp.ErrBusy, discovery.Busy},
		{ipp.ErrNotIPP, discovery.NotAPrinter},
		{ipp.ErrNotPrinter, discovery.NotAPrinter},
		{os.ErrDeadlineExceeded, discovery.NoAnswer},
		{context.DeadlineExceeded, discovery.NoAnswer},
		{syscall.ETIMEDOUT, discovery.NoAnswer},
	} {
		if errors.Is(err, c.is) {
			return c.why
		}
	}
	return discovery.BadAnswer
}
