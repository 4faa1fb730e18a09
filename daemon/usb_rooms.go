package daemon

import (
	"context"
	"net/netip"
	"slices"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery"
	"github.com/mfpgate/mfpgate/usb"
)

// What other rooms ask of the printers on USB. It is answered from memory, also while USB is off.

// plugged is what the registry asks.
func (p *printers) plugged() discovery.USB {
	return discovery.USB{
		Port: func(id mfpgate.SightingID) *mfpgate.USBPort {
			if room := p.room.Load(); room != nil {
				return room.Port(id)
			}
			return nil
		},
		Behind: func(at netip.AddrPort) mfpgate.SightingID {
			if room := p.room.Load(); room != nil {
				return room.Behind(at)
			}
			return ""
		},
	}
}

// served are the ports of printers, where the relay leads nobody: at one of them the gateway itself would be the client, whom
// usb.share: off lets in.
func (p *printers) served() []netip.AddrPort {
	if room := p.room.Load(); room != nil {
		return room.Served()
	}
	return nil
}

// Read implements poll.USB.
func (p *printers) Read(ctx context.Context, port string, parts mfpgate.Parts) (mfpgate.Reading, error) {
	if room := p.room.Load(); room != nil {
		return room.Read(ctx, port, parts)
	}
	return mfpgate.Reading{}, &usb.Refusal{Word: usb.ReasonOff, Text: "usb.enabled is off"}
}

// Print implements packagePrinters.
func (p *printers) Print(ctx context.Context, id mfpgate.SightingID, doc mfpgate.Document, told func(mfpgate.JobStatus)) (mfpgate.JobStatus, error) {
	if room := p.room.Load(); room != nil {
		return room.Print(ctx, id, doc, told)
	}
	return mfpgate.JobStatus{State: mfpgate.JobAborted}, errUnplugged
}

// TakesPackages implements packagePrinters.
func (p *printers) TakesPackages(id mfpgate.SightingID) bool {
	room := p.room.Load()
	return room != nil && slices.ContainsFunc(room.List(), func(one usb.Printer) bool { return one.Sighting == id && one.RawPackage })
}

// clients are who may use shared printers: who may use the relay, by the configuration in force.
func (p *printers) clients(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(p.daemon.config.Load().Relay.Clients, func(n netip.Prefix) bool { return n.Contains(a) })
}
