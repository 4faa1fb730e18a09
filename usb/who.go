package usb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/protocol/ieee1284"
	"github.com/mfpgate/mfpgate/usb/bus"
)

const (
	askPatience = 5 * time.Second        // for one control transfer
	askAgain    = 250 * time.Millisecond // before the one second try for strings and for a device id: some printers have them only once they are awake
	idSize      = 1024                   // asked for; what others ask for, too, and no printer is known to have more

	maxSerial       = 128 // bytes
	maxDescriptions = 256 // bytes of make, model and product
)

// who is what a printer says of itself.
type who struct {
	maker, product, serial string // of its descriptor
	id                     ieee1284.ID
}

// ask reads who a printer is. It needs no claim, and disturbs nobody who has one. What the printer does not say is empty; an error
// says that it is gone, or that nothing could be read at all.
func (p *plug) ask(ctx context.Context, h bus.Handle, d bus.Device) (who, error) {
	var w who
	err := p.strings(ctx, h, &w)
	if err != nil && !errors.Is(err, bus.ErrGone) && ctx.Err() == nil { // without its serial number it would be taken for another printer
		if err := mfpgate.Wait(ctx, p.m.o.Clock, askAgain); err != nil {
			return w, err
		}
		err = p.strings(ctx, h, &w)
	}
	if err != nil && (errors.Is(err, bus.ErrGone) || ctx.Err() != nil) {
		return w, err
	}

	asked := map[int]bool{}
	for _, i := range d.Interfaces {
		if i.Class != 7 || i.SubClass != 1 || asked[i.Number] {
			continue
		}
		asked[i.Number] = true
		for try := range 2 {
			if try > 0 {
				if err := mfpgate.Wait(ctx, p.m.o.Clock, askAgain); err != nil {
					return w, err
				}
			}
			if w.id, err = p.deviceID(ctx, h, i); err != nil && (errors.Is(err, bus.ErrGone) || ctx.Err() != nil) {
				return w, err
			}
			if !w.id.IsZero() {
				return w, nil
			}
		}
	}
	return w, nil
}

// strings adds what could be read of them, also beside an error.
func (p *plug) strings(ctx context.Context, h bus.Handle, w *who) error {
	ctx, done := p.m.within(ctx, askPatience)
	defer done()
	maker, product, serial, err := h.Strings(ctx)
	w.maker = cmp.Or(ieee1284.Text(maker, maxDescriptions), w.maker)
	w.product = cmp.Or(ieee1284.Text(product, maxDescriptions), w.product)
	w.serial = cmp.Or(ieee1284.Text(serial, maxSerial), w.serial)
	if err != nil {
		return fmt.Errorf("read the USB printer's strings: %w", err)
	}
	return nil
}

func (p *plug) deviceID(ctx context.Context, h bus.Handle, i bus.Interface) (ieee1284.ID, error) {
	ctx, done := p.m.within(ctx, askPatience)
	defer done()
	answer := make([]byte, idSize)
	n, err := h.Control(ctx, bus.FromInterface, bus.GetDeviceID, uint16(i.ConfigIndex), uint16(i.Number)<<8|uint16(i.Alternate)&0xff, answer)
	if err != nil {
		return ieee1284.ID{}, fmt.Errorf("read the USB printer's device id: %w", err)
	}
	return ieee1284.ParseAnswer(answer[:min(n, len(answer))]), nil
}

// softReset bounds bus.SoftReset, and counts it.
func (p *plug) softReset(ctx context.Context, h bus.Handle, i bus.Interface) error {
	ctx, done := p.m.within(ctx, askPatience)
	defer done()
	if err := bus.SoftReset(ctx, h, i.Number); err != nil {
		return fmt.Errorf("soft reset of the USB printer: %w", err)
	}
	p.m.o.Metrics.USBResets.Inc()
	return nil
}

// identity is what is known of the printer in the words that all sources have. The serial numbers are as the printer says them;
// that others say the same is not looked at yet.
func (w who) identity(d bus.Device) mfpgate.Identity {
	i := mfpgate.Identity{Make: w.id.Make, Model: w.id.Model, Serial: w.id.Serial, USB: d.ID() + ":" + mfpgate.CleanSerial(w.serial)}
	if i.Make == "" {
		i.Make = w.maker
	}
	if i.Model == "" {
		i.Model = w.product
	}
	if i.Make == "" {
		i.Make, i.Model = ieee1284.SplitMake(i.Model)
	}
	if i.Serial == "" {
		i.Serial = mfpgate.CleanSerial(w.serial)
	}
	return i
}

// names are what quirks know the printer by.
func (w who) names() []string {
	return []string{w.product, w.id.Model, w.maker + " " + w.product, w.id.Make + " " + w.id.Model}
}

// name is what people read: make and model, the make once.
func name(i mfpgate.Identity, d bus.Device) string {
	switch {
	case i.Model == "":
		return strings.TrimSpace(i.Make + " USB printer " + d.ID())
	case i.Make == "" || len(i.Model) >= len(i.Make) && strings.EqualFold(i.Model[:len(i.Make)], i.Make):
		return i.Model
	}
	return i.Make + " " + i.Model
}
