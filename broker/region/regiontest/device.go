package regiontest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region/holding"
)

// device checks in, writes and deletes items, and goes by its directives unless it is pinned: then it goes for ever to where it was made
// to go, and the relay leads it. All its connections go through the relay. A pinned device keeps one for as long as it may.
type device struct {
	w      *world
	pinned bool
	plain  bool // it speaks plain HTTP to its services
	rand   *rand.Rand
	tunnel *tunnel // to its services; run's alone

	mu     sync.Mutex
	region string
	epoch  uint64
	stored uint64 // epoch of the directive that it has stored; it goes by it once it has said so
	// may is what each item may be by now: one value if its last change was acknowledged. "" is that there is none.
	may map[string][]string
}

const itemClass, names = "address-book", 12

// run takes turns until the world ends.
func (d *device) run() {
	for turn := 0; mfpgate.Wait(d.w.ctx, d.w.clock, time.Duration(10+d.rand.IntN(15))*time.Second) == nil; turn++ {
		d.turn(turn)
	}
}

func (d *device) turn(turn int) {
	ctx, cancel := context.WithTimeout(d.w.ctx, 20*time.Second)
	defer cancel()
	l := d.w.gateway.alive()
	if l == nil { // without a relay the device reaches nobody
		return
	}
	host := servicesHost(d.belongs())
	if !d.pinned && turn%4 == 3 || !d.tunnel.up(host) {
		d.tunnel.close()
		var err error
		if d.tunnel, err = l.relay.dial(host, d.plain); err != nil {
			d.ask(ctx, l.relay)
			return
		}
	}
	to, epoch := d.tunnel.region, d.believes()
	_, err := call(ctx, d.w, deviceName, d.w.regions[to], "check-in", func(ctx context.Context, l *life) (mfpgate.Holding, error) {
		return l.region.book.CheckIn(ctx, deviceMFP, epoch)
	})
	if errors.As(err, new(*holding.Moved)) || turn%5 == 4 {
		d.ask(ctx, l.relay)
		return
	}
	if err == nil {
		d.change(ctx, to, turn)
	}
}

// knows is the epoch of the newest directive that the device has.
func (d *device) knows() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return max(d.stored, d.epoch)
}

// belongs is the region that the device takes for its own, believes the epoch that goes with it.
func (d *device) belongs() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.region
}

func (d *device) believes() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.epoch
}

// change writes or deletes an item.
func (d *device) change(ctx context.Context, to string, turn int) {
	name, value := fmt.Sprint("n", d.rand.IntN(names)), fmt.Sprint("v", turn)
	if d.rand.IntN(4) == 0 {
		value = ""
	}
	_, err := call(ctx, d.w, deviceName, d.w.regions[to], "data", func(ctx context.Context, l *life) (any, error) {
		if value == "" {
			return nil, l.region.book.Delete(ctx, deviceMFP, itemClass, name)
		}
		return nil, l.region.book.Put(ctx, deviceMFP, itemClass, name, []byte(value))
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err == nil || errors.Is(err, holding.ErrNoItem):
		d.may[name] = []string{value}
	case !errors.Is(err, holding.ErrDraining) && !errors.As(err, new(*holding.Moved)):
		d.may[name] = append(d.may[name], value) // nobody knows
	}
}

// ask fetches a directive from the management server that the device knows, stores it, and says so. A pinned device looks only whether
// it could.
func (d *device) ask(ctx context.Context, r *relay) {
	at := d.belongs()
	t, err := r.dial(managementHost(at), false)
	if err != nil {
		return
	}
	defer t.close()
	if d.pinned {
		return
	}
	got, err := call(ctx, d.w, deviceName, d.w.regions[t.region], "directive", func(ctx context.Context, l *life) (mfpgate.Directive, error) {
		got, _, err := l.region.manager.directive(ctx)
		return got, err
	})
	if err != nil || got.Epoch <= d.believes() {
		return
	}
	d.mu.Lock()
	d.stored = got.Epoch
	d.mu.Unlock()
	for d.w.ctx.Err() == nil {
		if d.acknowledge(at, got) {
			break
		}
		if mfpgate.Wait(d.w.ctx, d.w.clock, 5*time.Second) != nil {
			return
		}
	}
	d.mu.Lock()
	d.region, d.epoch = got.Region, got.Epoch
	d.mu.Unlock()
}

// acknowledge tells a management server that a directive is stored.
func (d *device) acknowledge(at string, got mfpgate.Directive) bool {
	l := d.w.gateway.alive()
	if l == nil {
		return false
	}
	t, err := l.relay.dial(managementHost(at), false)
	if err != nil {
		return errors.As(err, new(refused)) // somebody has heard it, though the device has not been told so
	}
	defer t.close()
	ctx, cancel := context.WithTimeout(d.w.ctx, 20*time.Second)
	defer cancel()
	_, err = call(ctx, d.w, deviceName, d.w.regions[t.region], "ack", func(ctx context.Context, l *life) (any, error) {
		return nil, l.region.manager.ack(ctx, got, l.clock.Now())
	})
	return err == nil
}

// lost compares what a region has with what the device was told that is stored.
func (d *device) lost(ctx context.Context, b *holding.Book) (texts []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for n := range names {
		name := fmt.Sprint("n", n)
		may, changed := d.may[name]
		if !changed {
			continue
		}
		value, err := b.Get(ctx, deviceMFP, itemClass, name)
		if errors.Is(err, holding.ErrNoItem) {
			value, err = nil, nil
		}
		if err != nil || !slices.Contains(may, string(value)) {
			texts = append(texts, fmt.Sprintf("%s is %q (%v), and may be one of %q", name, value, err, may))
		}
	}
	return texts
}
