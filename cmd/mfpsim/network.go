package main

import (
	"context"
	"errors"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/internal/mfp"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer"
)

// printing says how the devices answer as printers, if they do.
type printing struct {
	on                bool
	ippPort, snmpPort uint16
	dnssd             []string
	activity          float64
	location          string
}

func printingFlags(c *cobra.Command) *printing {
	p := &printing{}
	f := c.Flags()
	f.BoolVar(&p.on, "print", false, "answer as a printer at its address: IPP and SNMP")
	f.Uint16Var(&p.ippPort, "ipp-port", 16310, "port of IPP")
	f.Uint16Var(&p.snmpPort, "snmp-port", 10161, "port of SNMP")
	f.StringSliceVar(&p.dnssd, "dns-sd", nil, "interfaces to announce the printer on, such as lo")
	f.Float64Var(&p.activity, "activity", 0, "jobs that it prints in an hour, on average")
	f.StringVar(&p.location, "location", "", "where the printer says it stands")
	return p
}

// mostOwnSockets is the largest fleet whose printers have sockets of their own. It leaves the other addresses of the
// machine, and so other fleets, alone; a larger one shares sockets on all addresses.
const mostOwnSockets = 256

// network is where the devices are printers; without --print there is none.
type network struct {
	how  *printing
	site *printer.Site // nil without --print
}

func (s *surroundings) network(all []mfp.Options) (*network, error) {
	n := &network{how: s.printing}
	if !n.how.on {
		if len(n.how.dnssd) > 0 || n.how.activity != 0 {
			return nil, errors.New("dns-sd and activity: need --print")
		}
		return n, nil
	}
	if n.how.activity < 0 {
		return nil, errors.New("activity: must not be negative")
	}
	narrow := ""
	if all[0].Bind.IsLoopback() {
		narrow = "lo"
	}
	site, err := printer.New(printer.SiteOptions{
		Clock: mfpgate.SystemClock{}, IPPPort: n.how.ippPort, SNMPPort: n.how.snmpPort, OwnSockets: len(all) <= mostOwnSockets, Interface: narrow,
		DNSSD: printer.DNSSD{Interfaces: n.how.dnssd}, JobsPerHour: n.how.activity,
	})
	n.site = site
	return n, err
}

// join makes a device a printer once listening is called with what it runs at its start. From then on it says over IPP and
// SNMP what it has installed.
func (n *network) join(o *mfp.Options, notify func(mfp.Event)) (listening func(firmware string) error, err error) {
	if n.site == nil {
		o.Notify = notify
		return func(string) error { return nil }, nil
	}
	if !o.Bind.IsValid() {
		return nil, errors.New("print: needs --bind, the address that the printer answers at")
	}
	var p *printer.Printer
	o.Notify = func(e mfp.Event) {
		if e.Kind == mfp.Installed {
			p.SetFirmware(e.Version)
		}
		notify(e)
	}
	name := o.Name
	if name == "" {
		name = o.ID
	}
	return func(firmware string) (err error) {
		p, err = n.site.Add(printer.Options{
			Addresses: []netip.Addr{o.Bind}, Name: name, Model: o.Model, Serial: o.Serial, Firmware: firmware, Location: n.how.location,
			DNSSD: len(n.how.dnssd) > 0, Scanner: true,
		})
		return err
	}, nil
}

// run ends with ctx.
func (n *network) run(ctx context.Context) error {
	if n.site == nil {
		return nil
	}
	return n.site.Run(ctx)
}
