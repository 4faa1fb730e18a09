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
// to go, and the relay leads it.
type device struct {
	w      *world
	pinned bool
	rand   *rand.Rand

	mu     sync.Mutex
	region string
	epoch  uint64
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
	to, led, up := d.led()
	if !up {
		return
	}
	if led {
		if !d.pinned {
			d.ask(ctx) // the relay lets it go no more where it wants
			return
		}
	}
	d.mu.Lock()
	epoch := d.epoch
	d.mu.Unlock()
	_, err := call(ctx, d.w, deviceName, d.w.regions[to], "check-in", func(ctx context.Context, l *life) (mfpgate.Holding, error) {
		return l.region.book.CheckIn(ctx, deviceMFP, epoch)
	})
	if errors.As(err, new(*holding.Moved)) || turn%5 == 4 {
		d.ask(ctx)
		return
	}
	if err == nil {
		d.change(ctx, to, turn)
	}
}

// led returns where the device's connections go, and whether that is elsewhere than it wants. Without a relay they go nowhere.
func (d *device) led() (to string, elsewhere, up bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.w.gateway.alive()
	if l == nil {
		return "", false, false
	}
	if region, epoch := l.gate.leads(); epoch > 0 && region != d.region {
		return region, true, true
	}
	return d.region, false, true
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

// ask fetches a directive from the management server that the device knows, stores it, and says so.
func (d *device) ask(ctx context.Context) {
	if d.pinned {
		return
	}
	d.mu.Lock()
	at := d.region
	d.mu.Unlock()
	got, err := call(ctx, d.w, deviceName, d.w.regions[at], "directive", func(ctx context.Context, l *life) (mfpgate.Directive, error) {
		got, _, err := l.region.manager.directive(ctx)
		return got, err
	})
	d.mu.Lock()
	fresh := err == nil && got.Epoch > d.epoch
	d.mu.Unlock()
	if !fresh {
		return
	}
	for d.w.ctx.Err() == nil { // it is stored already: what is left is to say so
		ctx, cancel := context.WithTimeout(d.w.ctx, 20*time.Second)
		_, err = call(ctx, d.w, deviceName, d.w.regions[at], "ack", func(ctx context.Context, l *life) (any, error) {
			return nil, l.region.manager.ack(ctx, got, l.clock.Now())
		})
		cancel()
		if err == nil {
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
