package discovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

var (
	// ErrNoDevice is returned for an id that no device has.
	ErrNoDevice = errors.New("no such device")
	// ErrAdmin is returned for what an administrator asks and cannot have; its text says what to do.
	ErrAdmin = errors.New("refused")
)

// Pin makes one device of several, whatever they say of themselves, and keeps their sightings with it. The kept id and name
// are keep's. It is durable when the call returns.
func (r *Registry) Pin(ctx context.Context, keep mfpgate.DeviceID, others []mfpgate.DeviceID) error {
	return r.admin(ctx, func() error {
		d := r.devices[keep]
		if d == nil {
			return ErrNoDevice
		}
		for _, id := range others {
			o := r.devices[id]
			switch {
			case o == nil:
				return fmt.Errorf("%w: %s", ErrNoDevice, id)
			case o == d:
				return fmt.Errorf("%w: a device cannot be pinned to itself; name another", ErrAdmin)
			case o.static != nil && d.static != nil:
				return fmt.Errorf("%w: the configuration names both; remove one of them from devices.static first", ErrAdmin)
			case len(d.sightings)+len(o.sightings) > MaxSightings:
				return fmt.Errorf("%w: together they would have more than %d sightings", ErrAdmin, MaxSightings)
			}
		}
		for _, id := range others {
			o := r.devices[id]
			if o == nil {
				continue // named twice
			}
			delete(d.apart, id)
			delete(o.apart, d.id)
			for _, s := range o.sightings {
				s.Pinned = true
			}
			r.absorb(d, o)
		}
		for _, s := range d.sightings {
			s.Pinned = true
		}
		r.changed(d)
		return nil
	})
}

// Split makes a device of its own of one sighting, and keeps the two apart. It is durable when the call returns.
func (r *Registry) Split(ctx context.Context, id mfpgate.DeviceID, sighting mfpgate.SightingID) (made mfpgate.DeviceID, err error) {
	err = r.admin(ctx, func() error {
		d := r.devices[id]
		switch {
		case d == nil:
			return ErrNoDevice
		case d.sightings[sighting] == nil:
			return fmt.Errorf("%w: the device has no sighting %q; `mfpgate devices show` lists them", ErrAdmin, sighting)
		case len(d.sightings) == 1:
			return fmt.Errorf("%w: it is the device's only sighting; there is nothing to split it from", ErrAdmin)
		case sighting.Source() == mfpgate.SourceStatic:
			return fmt.Errorf("%w: the configuration names it; change its address in devices.static", ErrAdmin)
		}
		o := r.create()
		s := d.sightings[sighting]
		s.Pinned = true
		o.sightings[sighting] = s
		o.apart[d.id], d.apart[o.id] = struct{}{}, struct{}{}
		r.detach(d, sighting)
		r.reindex(o)
		for _, e := range network(s.Sighting) {
			r.settle(e.Address.Addr())
		}
		r.refresh(o, r.Clock.Now())
		r.changed(o)
		made = o.id
		return nil
	})
	return made, err
}

// Rename gives a device a name for people; "" gives its own back. It is durable when the call returns.
func (r *Registry) Rename(ctx context.Context, id mfpgate.DeviceID, name string) error {
	return r.admin(ctx, func() error {
		d := r.devices[id]
		switch {
		case d == nil:
			return ErrNoDevice
		case mfpgate.CleanText(name, len(name)) != name || utf8.RuneCountInString(name) > 200:
			return fmt.Errorf("%w: a name is one line of at most 200 characters that can be seen, with single spaces", ErrAdmin)
		}
		d.given = name
		r.renew(d)
		r.changed(d)
		return nil
	})
}

// Forget drops all that is known of a device. It is met anew, with another id, when something shows it again. It is durable
// when the call returns.
func (r *Registry) Forget(ctx context.Context, id mfpgate.DeviceID) error {
	return r.admin(ctx, func() error {
		d := r.devices[id]
		switch {
		case d == nil:
			return ErrNoDevice
		case d.static != nil:
			return fmt.Errorf("%w: the configuration names it; remove it from devices.static and reload first", ErrAdmin)
		}
		r.Log.Info().Str(field.Device, string(d.id)).Str(field.DeviceName, d.name()).Msg(event.DeviceForgotten)
		r.drop(d)
		return nil
	})
}

// admin does what an administrator said, and stores it before it returns. What a full or closed store refuses stays in force
// and is stored later; the error says so.
func (r *Registry) admin(ctx context.Context, do func() error) error {
	r.mu.Lock()
	err := do()
	r.release()
	if err != nil {
		return err
	}
	if err := r.Flush(ctx); err != nil {
		return fmt.Errorf("in force, and not stored yet: %w", err)
	}
	return nil
}

// IDs returns the ids of all devices, sorted.
func (r *Registry) IDs() []mfpgate.DeviceID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.devices))
}
