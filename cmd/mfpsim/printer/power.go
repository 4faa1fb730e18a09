package printer

import (
	"net"
	"net/netip"

	"github.com/mfpgate/mfpgate"
)

// PowerOff switches it off: it takes its leave from DNS-SD, and answers nothing. Connections to it are refused, or, at
// shared sockets, reset as soon as they are there.
func (p *Printer) PowerOff() {
	if before := p.switchTo(off); before.power == on && p.site.mdns != nil && before.o.DNSSD {
		p.site.mdns.goodbye(before)
	}
	p.hangUp()
	p.closeOwn()
	p.site.filter()
}

// Unplug pulls the cable: nothing leaves it, not even a goodbye; packets to it are lost, also those that open a connection
// (over IPv6 that one succeeds, and then nothing comes), and connections that it has stay silent.
func (p *Printer) Unplug() {
	p.switchTo(unplugged)
	p.site.filter()
}

// On switches it on, or puts the cable back. It starts anew after PowerOff: its up-time and its count since then.
func (p *Printer) On() error {
	before := p.switchTo(on)
	if before.power == off {
		p.mu.Lock()
		now := p.site.now()
		p.started, p.stateSince, p.configSince, p.sinceOn = now, now, now, 0
		p.state, p.message = mfpgate.PrinterIdle, ""
		p.mu.Unlock()
		if p.site.o.OwnSockets {
			if err := p.openOwn(); err != nil {
				return err
			}
		}
	}
	p.site.filter()
	if before.power != on {
		p.announce()
	}
	return nil
}

// switchTo returns what it was before.
func (p *Printer) switchTo(to power) *view {
	before := p.view()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.power = to
	return before
}

func (p *Printer) is() power {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.power
}

// announce tells the network that it is there, if it does such.
func (p *Printer) announce() {
	if p.site.mdns != nil && p.announced() && p.is() == on {
		p.site.mdns.announce(p)
	}
}

// hangUp resets its connections.
func (p *Printer) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		reset(c)
	}
	p.conns = nil
}

// reset closes a connection without a farewell.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// IPP is where it answers IPP, over its first address.
func (p *Printer) IPP() netip.AddrPort { return p.endpoint(func(o ports) uint16 { return o.ipp }) }

// SNMP is where it answers SNMP, over its first address.
func (p *Printer) SNMP() netip.AddrPort { return p.endpoint(func(o ports) uint16 { return o.snmp }) }

func (p *Printer) endpoint(port func(ports) uint16) netip.AddrPort {
	v := p.view()
	return netip.AddrPortFrom(v.o.Addresses[0], port(v.ports))
}

// ports are what sockets listen on; ipps is 0 without TLS.
type ports struct{ ipp, ipps, snmp uint16 }
