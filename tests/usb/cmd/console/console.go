package console

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/mfpgate/mfpgate/tests/usb/model"
)

// Carrier plugs printers in.
type Carrier interface {
	Plug(p *model.Printer, port string) (Plugged, error)
}

// Plugged is a printer that is plugged in, unless Out is closed.
type Plugged interface {
	Unplug() error
	Out() <-chan struct{}
}

// Host is a Plugged whose carrier plays the host too.
type Host interface {
	BindDriver(iface uint32, name string)
	Hold(iface uint32)
	Unhold(iface uint32)
	Deny() error
	Allow() error
}

// Console carries out commands, one after the other.
type Console struct {
	carrier Carrier
	ports   map[string]*port
}

type port struct {
	name    string
	layout  model.Layout
	serial  string
	printer *model.Printer
	plugged Plugged
}

// New returns a console without printers.
func New(c Carrier) *Console { return &Console{carrier: c, ports: map[string]*port{}} }

// errQuit ends Run.
var errQuit = errors.New("quit")

// Run carries out commands until in ends or says quit. Its error is that of reading or writing.
func (c *Console) Run(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		answer, err := c.Do(lines.Text())
		switch {
		case errors.Is(err, errQuit):
			return nil
		case err != nil:
			answer = "error: " + strings.ReplaceAll(err.Error(), "\n", "; ")
		default:
			answer = strings.TrimSpace("ok " + answer)
		}
		if _, err := fmt.Fprintln(out, answer); err != nil {
			return fmt.Errorf("answer %q: %w", lines.Text(), err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read commands: %w", err)
	}
	return nil
}

// Close unplugs all printers.
func (c *Console) Close() error {
	var err error
	for _, p := range c.ports {
		if p.in() {
			err = errors.Join(err, p.plugged.Unplug())
		}
	}
	return err
}

func (p *port) in() bool {
	if p.plugged == nil {
		return false
	}
	select {
	case <-p.plugged.Out():
		return false
	default:
		return true
	}
}

// Do carries out one command and returns its answer.
func (c *Console) Do(line string) (answer string, err error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return "", errors.New("no command")
	}
	name, args := words[0], words[1:]
	switch {
	case name == "quit":
		return "", errQuit
	case name == "stats" && len(args) == 0:
		all := []Stats{}
		for _, name := range slices.Sorted(maps.Keys(c.ports)) {
			all = append(all, c.ports[name].stats())
		}
		return encode(all)
	case name == "plug" && len(args) >= 3:
		return "", c.plug(args[0], args[1], args[2], args[3:])
	case len(args) == 0:
		return "", fmt.Errorf("%s: what port?", name)
	}
	p, known := c.ports[args[0]]
	if !known {
		return "", fmt.Errorf("%s: nothing was ever plugged into port %s", name, args[0])
	}
	switch name {
	case "stats":
		return encode(p.stats())
	case "take":
		raw := p.printer.Raw
		if raw == nil {
			return "", errors.New("take: it has no raw port")
		}
		var t Taken
		t.Bytes, t.SHA256 = raw.Take()
		return encode(t)
	case "back":
		return "", c.back(p)
	case "unplug":
		if !p.in() {
			return "", fmt.Errorf("unplug: nothing is plugged into port %s", p.name)
		}
		return "", p.plugged.Unplug()
	}
	return "", p.disturb(name, args[1:])
}

func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

func (c *Console) plug(layout, serial, name string, options []string) error {
	if p, known := c.ports[name]; known && p.in() {
		return fmt.Errorf("plug: something is plugged into port %s", name)
	}
	o := model.Options{Layout: model.Layout(layout), Serial: strings.TrimPrefix(serial, "-")}
	if !slices.Contains(model.Layouts(), o.Layout) {
		return fmt.Errorf("plug: no layout %s; there are %v", layout, model.Layouts())
	}
	for _, option := range options {
		key, value, _ := strings.Cut(option, "=")
		switch key {
		case "id":
			o.IDForm = model.IDForm(value)
			if !slices.Contains(model.IDForms(), o.IDForm) {
				return fmt.Errorf("plug: no form %q of an id; there are %q", value, model.IDForms())
			}
		case "make":
			o.Make = value
		case "model":
			o.Model = value
		case "vid", "pid":
			n, err := strconv.ParseUint(value, 16, 16)
			if err != nil {
				return fmt.Errorf("plug: %s: %w", key, err)
			}
			if key == "vid" {
				o.VID = uint16(n)
			} else {
				o.PID = uint16(n)
			}
		default:
			return fmt.Errorf("plug: no option %s", key)
		}
	}
	p := &port{name: name, layout: o.Layout, serial: o.Serial, printer: model.New(o)}
	if err := c.back(p); err != nil {
		return err
	}
	c.ports[name] = p
	return nil
}

func (c *Console) back(p *port) error {
	if p.in() {
		return fmt.Errorf("back: the printer is plugged into port %s", p.name)
	}
	plugged, err := c.carrier.Plug(p.printer, p.name)
	if err != nil {
		return fmt.Errorf("plug: %w", err)
	}
	p.plugged = plugged
	return nil
}

// Stats is what a port's printer recorded.
type Stats struct {
	Port      string           `json:"port"`
	Layout    model.Layout     `json:"layout"`
	Serial    string           `json:"serial,omitempty"`
	Plugged   bool             `json:"plugged"`
	Resets    int              `json:"resets"`
	Code      int              `json:"code"`             // PJL's, of what it is at
	RawBytes  int64            `json:"rawBytes"`         // of the raw port, in all, and
	RawSHA256 string           `json:"rawSHA256"`        // their digest
	RawCut    int              `json:"rawCut"`           // jobs that were cut off
	RawJobs   []model.RawJob   `json:"rawJobs"`          //
	Documents []model.Document `json:"documents"`        // of IPP
	Requests  int64            `json:"requests"`         // of HTTP
	AtOnce    int              `json:"atOnce"`           // requests at once, at most
	Faults    map[string]int   `json:"faults,omitempty"` // still to come, by the endpoint's address
}

// Taken is what a raw port took since the last time that it was asked for.
type Taken struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

func (p *port) stats() Stats {
	s := Stats{Port: p.name, Layout: p.layout, Serial: p.serial, Plugged: p.in(), Resets: p.printer.Resets(), Code: p.printer.Code(),
		RawJobs: []model.RawJob{}, Documents: []model.Document{}, Faults: map[string]int{}}
	if raw := p.printer.Raw; raw != nil {
		s.RawBytes, s.RawSHA256, s.RawCut = raw.Bytes(), raw.SHA256(), raw.Cut()
		s.RawJobs = append(s.RawJobs, raw.Jobs()...)
	}
	if ipp := p.printer.IPP; ipp != nil {
		s.Documents, s.Requests, s.AtOnce = ipp.Documents(), ipp.Asked(), ipp.AtOnce()
	}
	for _, i := range p.printer.Interfaces {
		for _, address := range []uint8{i.Out, i.In} {
			if e, ok := p.printer.Endpoint(address); ok && e.Faults() > 0 {
				s.Faults[fmt.Sprintf("%02x", address)] = e.Faults()
			}
		}
	}
	return s
}
