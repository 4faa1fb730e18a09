package endpoint_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
	"github.com/mfpgate/mfpgate/usb/endpoint"
)

var broken = roundTripper(nil)

func TestADeviceKeepsItsPort(t *testing.T) {
	kept := memory.New()
	ports := map[string]uint16{}
	for round, keys := range [][]string{{"03f0:e911:A", "03f0:e911:B"}, {"03f0:e911:B", "03f0:e911:C", "03f0:e911:A"}} {
		e := newEndpoints(t, func(o *endpoint.Options) { o.Store = kept }) // after a kill there is nothing but the store
		for _, key := range keys {
			p := serve(t, e, key, broken)
			port := p.Address().Port()
			for other, has := range ports {
				if (other == key) != (has == port) {
					t.Errorf("round %d: %s has %d, and %s %d", round, key, port, other, has)
				}
			}
			ports[key] = port
			if port < 61000 || p.Address().Addr().String() != "127.0.0.1" || p.URL() != fmt.Sprintf("http://127.0.0.1:%d", port) {
				t.Errorf("%s is at %s", key, p.Address())
			}
			closeNow(t, p)
		}
	}
}

func TestAPortThatAnotherProgramHas(t *testing.T) {
	kept := memory.New()
	e := newEndpoints(t, func(o *endpoint.Options) { o.Store = kept })
	p := serve(t, e, "a", broken)
	first := p.Address()
	closeNow(t, p)
	other, err := net.Listen("tcp4", first.String())
	if err != nil {
		t.Fatal(err)
	}
	p = serve(t, e, "a", broken)
	second := p.Address()
	closeNow(t, p)
	_ = other.Close()
	if second == first {
		t.Fatalf("still %s", first)
	}
	e = newEndpoints(t, func(o *endpoint.Options) { o.Store = kept })
	if again := serve(t, e, "a", broken).Address(); again != second {
		t.Errorf("%s after a restart, want %s for good", again, second)
	}
}

func TestTwoDevicesAtOnceHaveTwoPorts(t *testing.T) {
	e := newEndpoints(t, func(o *endpoint.Options) {
		u := &unsure{Store: memory.New()}
		u.times.Store(3)
		o.Store = u
	})
	var mu sync.Mutex
	ports := map[uint16]int{}
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			p, err := e.Serve(t.Context(), fmt.Sprint("device ", i), broken, endpoint.About{})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ports[p.Address().Port()]++
			t.Cleanup(func() { closeNow(t, p) })
		})
	}
	all.Wait()
	if len(ports) != 16 {
		t.Errorf("ports %v for 16 devices", ports)
	}
	if _, err := e.Serve(t.Context(), "device 3", broken, endpoint.About{}); !errors.Is(err, endpoint.ErrServed) {
		t.Errorf("served twice: %v", err)
	}
}

// What a device calls its serial number may be as long and as odd as the bus lets it.
func TestAFullTableForgetsWhoWasAwayLongest(t *testing.T) {
	clock := fakeclock.New(time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC))
	e := newEndpoints(t, func(o *endpoint.Options) { o.Clock = clock })
	key := func(i int) string {
		return fmt.Sprintf("03f0:e911:%s%d", strings.Repeat([]string{"\x01<\u00e9", "SN12"}[i%2], 300), i)
	}
	ports := map[int]uint16{}
	for i := range 129 {
		p, err := e.Serve(t.Context(), key(i), broken, endpoint.About{Name: strings.Repeat("é", 200)})
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = p.Address().Port()
		if i == 0 {
			t.Cleanup(func() { closeNow(t, p) }) // it is there all the time
		} else {
			closeNow(t, p)
		}
		clock.Advance(time.Minute)
	}
	if ports[128] != ports[1] {
		t.Errorf("device 128 has %d, want %d, which device 1 had, the longest away", ports[128], ports[1])
	}
	if p := serve(t, e, key(2), broken); p.Address().Port() != ports[2] {
		t.Errorf("device 2 has %d, want its %d", p.Address().Port(), ports[2])
	}
}

func TestWhatCannotBeStoredIsNotServed(t *testing.T) {
	lost := errors.New("lost")
	e := newEndpoints(t, func(o *endpoint.Options) { o.Store = failing{memory.New(), lost} })
	if _, err := e.Serve(t.Context(), "a", broken, endpoint.About{}); !errors.Is(err, lost) {
		t.Errorf("%v", err)
	}
	if _, err := e.Serve(t.Context(), "a", broken, endpoint.About{}); errors.Is(err, endpoint.ErrServed) {
		t.Error("the key is held for good")
	}
	for _, o := range []endpoint.Options{{}, {Clock: mfpgate.SystemClock{}, Store: memory.New(), Share: "everybody"}} {
		if _, err := endpoint.New(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

type failing struct {
	store.Store
	err error
}

func (f failing) Update(context.Context, func(store.Tx) error) error { return f.err }
