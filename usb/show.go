package usb

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/quirk"
)

// meet takes what the printer says of itself. Another printer may have said the same serial number; then both are shown anew.
func (p *plug) meet(ctx context.Context, w who, d bus.Device, q quirk.Quirks) {
	said := w.identity(d)
	p.m.mu.Lock()
	if p.m.plugs[p.port] != p {
		p.m.mu.Unlock()
		return // it was unplugged meanwhile: it may be heard at another port already, and is no second printer
	}
	others, lies := p.m.serials.say(p.port, said)
	p.said = said
	p.shown.CommandSet, p.shown.RawPackage = w.id.CommandSet, q.RawPackage
	var again []*plug
	for _, port := range others {
		if o := p.m.plugs[port]; o != nil {
			again = append(again, o)
		}
	}
	p.m.mu.Unlock()
	if err := p.m.serials.keep(ctx, lies); err != nil {
		p.noise("that its serial number is others' too could not be kept", err)
	}
	p.know()
	for _, o := range again {
		o.know()
		o.sight()
	}
}

// know sets who the printer is, by what it said and what of that is of use.
func (p *plug) know() {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if p.said == (mfpgate.Identity{}) {
		return
	}
	p.shown.Identity = p.m.serials.honest(p.said)
	p.shown.Name = name(p.shown.Identity, p.device)
}

func (p *plug) identity() mfpgate.Identity {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	return p.shown.Identity
}

// unused shows that nobody drives the printer, and why.
func (p *plug) unused(why mfpgate.Reason, text string, q quirk.Quirks) {
	p.show(nil, mfpgate.USBPort{Mode: mfpgate.USBModeUnused, Reason: why, Detail: p.detail(text, q)}, netip.AddrPort{})
}

// drivenBy shows the printer's session.
func (p *plug) drivenBy(s session, q quirk.Quirks) {
	port := mfpgate.USBPort{Mode: s.mode(), Detail: p.detail("", q)}
	if at := s.at(); at.IsValid() {
		port.URL = "http://" + at.String()
	}
	if s.mode() == mfpgate.USBModeOther {
		port.Reason, port.Detail = ReasonIPPUSB, p.detail(fmt.Sprintf("ipp-usb drives it; its port %d is used", s.at().Port()), q)
	}
	p.show(s, port, s.at())
}

// show makes known how the printer is driven now.
func (p *plug) show(s session, port mfpgate.USBPort, served netip.AddrPort) {
	p.m.mu.Lock()
	was := p.shown.USB
	port.Bus, port.ID = was.Bus, was.ID
	port.Shared = p.m.shared && port.Mode == mfpgate.USBModeIPP && port.URL != ""
	p.shown.USB, p.served, p.session = port, served, s
	shown := p.shown
	p.m.count()
	p.m.mu.Unlock()
	if was.Mode != port.Mode || was.Reason != port.Reason || was.URL != port.URL {
		e := p.m.o.Log.Info()
		if port.Mode == mfpgate.USBModeUnused {
			e = p.m.o.Log.Warn()
		}
		e.Str(field.Port, string(p.port)).Str(field.DeviceName, shown.Name).Str(field.Mode, string(port.Mode)).Str(field.Reason, string(port.Reason)).
			Str(field.Address, port.URL).Str(field.Text, port.Detail).Msg(event.USBDriven)
	}
	p.sight()
}

// sight tells what is plugged in.
func (p *plug) sight() {
	p.sighting.Lock() // so that the last is the newest
	defer p.sighting.Unlock()
	p.m.mu.Lock()
	if p.m.plugs[p.port] != p {
		p.m.mu.Unlock()
		return // it was unplugged
	}
	s := mfpgate.Sighting{ID: p.shown.Sighting, At: p.m.o.Clock.Now(), Identity: p.shown.Identity, Name: p.shown.Name, Answered: p.session != nil}
	switch {
	case p.served.IsValid():
		s.Endpoints = []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolIPP, Address: p.served, Path: path}}
	case p.session != nil && p.session.mode() == mfpgate.USBModeRaw:
		s.Endpoints = []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolUSB, Path: string(p.port)}}
	}
	p.m.mu.Unlock()
	p.m.o.Sighted(s)
}

// noise remarks what keeps nothing from going on, once.
func (p *plug) noise(what string, err error) {
	p.m.mu.Lock()
	again := p.noises[what] == err.Error()
	if p.noises == nil {
		p.noises = map[string]string{}
	}
	p.noises[what] = err.Error()
	p.m.mu.Unlock()
	if again {
		return
	}
	p.m.o.Log.Warn().Str(field.Port, string(p.port)).Str(field.DeviceName, p.name()).Str(field.Text, what).Str(field.Error, err.Error()).Msg(event.USBNoise)
}

// other asks whether the other program drives the printer, and at which port.
func (p *plug) other(ctx context.Context, serial string) (port uint16, yes bool) {
	if p.m.o.Daemon == nil {
		return 0, false
	}
	port, yes, err := p.m.o.Daemon.Drives(ctx, p.dev(), serial)
	if err != nil && ctx.Err() == nil {
		p.noise("whether ipp-usb drives it is not known", err)
	}
	return port, yes
}

// lend leaves the printer to the other program, and uses its port for as long as it has the printer.
func (p *plug) lend(ctx context.Context, port uint16, q quirk.Quirks) time.Duration {
	if port == 0 {
		p.unused(ReasonIPPUSB, "ipp-usb drives it, and does not say at which port", q)
		return watchOther
	}
	s := &otherSession{p: p, address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port), transport: &http.Transport{DisableCompression: true}}
	s.ctx, s.end = context.WithCancel(context.WithoutCancel(ctx))
	defer s.transport.CloseIdleConnections()
	defer s.end()
	p.drivenBy(s, q)
	for left := false; !left; {
		over, stop := p.after(watchOther)
		select {
		case <-ctx.Done():
			left = true
		case <-over:
			now, yes := p.other(ctx, p.serial())
			if ctx.Err() == nil && (!yes || now != port) {
				s.end() // nobody is behind the port any more
				p.unused(ReasonOpening, "ipp-usb has left it", q)
				left = true
			}
		}
		stop()
	}
	closing, done := p.ending(ctx)
	defer done()
	p.finish(closing)
	return 0
}

// serial is the serial number of the printer's descriptor.
func (p *plug) serial() string {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	return p.said.USB[min(len(p.said.USB), len("03f0:e911:")):]
}
