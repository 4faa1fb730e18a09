package console

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/tests/usb/model"
)

// disturb carries out a command that changes what a printer, or its host, does.
func (p *port) disturb(name string, args []string) error {
	switch name {
	case "pause", "resume", "halt", "fault":
		if len(args) == 0 {
			return fmt.Errorf("%s: which endpoint?", name)
		}
		return p.endpoint(name, args[0], args[1:])
	case "split":
		return p.split(args)
	case "silence":
		on := strings.Join(args, " ")
		if p.printer.RawIn == nil || on != "on" && on != "off" {
			return errors.New("silence: on or off, of a raw port that answers")
		}
		p.printer.RawIn.Silence(on == "on")
		return nil
	case "paper":
		switch strings.Join(args, " ") {
		case "out":
			p.printer.OutOfPaper()
		case "in":
			p.printer.LoadPaper()
		default:
			return errors.New("paper: out or in?")
		}
		return nil
	case "status":
		bits, err := strconv.ParseUint(strings.Join(args, " "), 16, 8)
		if err != nil {
			return fmt.Errorf("status: %w", err)
		}
		p.printer.PortStatus(uint8(bits))
		return nil
	case "answer":
		return p.answer(args)
	case "driver", "hold", "unhold", "deny", "allow":
		return p.host(name, args)
	}
	return fmt.Errorf("no command %s", name)
}

func (p *port) endpoint(name, address string, args []string) error {
	n, err := strconv.ParseUint(address, 16, 8)
	if err != nil {
		return fmt.Errorf("%s: endpoint: %w", name, err)
	}
	e, ok := p.printer.Endpoint(uint8(n))
	if !ok {
		return fmt.Errorf("%s: no endpoint %s", name, address)
	}
	switch name {
	case "pause":
		e.Pause()
	case "resume":
		e.Resume()
	case "halt":
		e.Halt()
	case "fault":
		fault, err := parseFault(args)
		if err != nil {
			return fmt.Errorf("fault: %w", err)
		}
		e.Fail(fault)
	}
	return nil
}

func parseFault(args []string) (model.Fault, error) {
	if len(args) == 0 || !slices.Contains(model.Kinds(), model.Kind(args[0])) {
		return model.Fault{}, fmt.Errorf("kinds are %v", model.Kinds())
	}
	f := model.Fault{Kind: model.Kind(args[0])}
	for _, arg := range args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		n, err := strconv.ParseInt(value, 10, 64)
		switch {
		case err != nil:
			return model.Fault{}, fmt.Errorf("%s: %w", key, err)
		case key == "after":
			f.After = n
		case key == "times":
			f.Times = int(n)
		default:
			return model.Fault{}, fmt.Errorf("no option %s", key)
		}
	}
	return f, nil
}

func (p *port) split(args []string) error {
	var numbers []int
	for _, arg := range args {
		n, err := strconv.Atoi(arg)
		if err != nil || n < 0 {
			return fmt.Errorf("split: %q is no number", arg)
		}
		numbers = append(numbers, n)
	}
	if len(numbers) == 0 || numbers[0] >= len(p.printer.Pairs) {
		return fmt.Errorf("split: which of %d interfaces?", len(p.printer.Pairs))
	}
	p.printer.Pairs[numbers[0]].In.Split(numbers[1:]...)
	return nil
}

func (p *port) answer(args []string) error {
	if p.printer.IPP == nil {
		return errors.New("answer: the printer has no IPP")
	}
	var a model.Answer
	for _, arg := range args {
		key, value, valued := strings.Cut(arg, "=")
		n, err := strconv.Atoi(value)
		switch key {
		case "silent":
			a.Silent = true
		case "garbage":
			a.Garbage = true
		case "chunked":
			a.Chunked = true
		case "early":
			a.Early = true
		case "cut":
			a.Cut = n
		case "status":
			a.Status = n
		case "pad":
			a.Pad = n
		case "delay":
			a.Delay, err = time.ParseDuration(value)
		default:
			return fmt.Errorf("answer: no option %s", key)
		}
		if valued && err != nil {
			return fmt.Errorf("answer: %s: %w", key, err)
		}
	}
	p.printer.IPP.Next(a)
	return nil
}

func (p *port) host(name string, args []string) error {
	h, can := p.plugged.(Host)
	if !can || !p.in() {
		return fmt.Errorf("%s: this carrier does not play the host", name)
	}
	switch name {
	case "deny":
		return h.Deny()
	case "allow":
		return h.Allow()
	}
	if len(args) == 0 {
		return fmt.Errorf("%s: which interface?", name)
	}
	n, err := strconv.ParseUint(args[0], 10, 8)
	if err != nil {
		return fmt.Errorf("%s: interface: %w", name, err)
	}
	switch {
	case name == "hold":
		h.Hold(uint32(n))
	case name == "unhold":
		h.Unhold(uint32(n))
	case len(args) == 2:
		h.BindDriver(uint32(n), args[1])
	default:
		return errors.New("driver: which?")
	}
	return nil
}
