package usb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// serials know which serial numbers are of no use: vendors give one to a whole series. A number that two printers said at the same
// time is one of them for good, also when one of the two is alone later: else it would be taken for the other.
type serials struct {
	store store.Store

	mu    sync.Mutex
	lies  map[string]bool
	saids map[string]map[bus.Port]bool // who says it now
}

const serialKey = "usb/shared-serial/"

// load reads what earlier runs found out.
func (s *serials) load(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lies, s.saids = map[string]bool{}, map[string]map[bus.Port]bool{}
	if s.store == nil {
		return nil
	}
	return s.store.View(ctx, func(now store.Snapshot) error {
		for r, err := range store.All(now, serialKey) {
			if err != nil {
				return err
			}
			s.lies[strings.TrimPrefix(r.Key, serialKey)] = true
		}
		return nil
	})
}

// proofs are what would make two printers one, as the registry has it, each with what to blank in an identity where it is of no use.
func proofs(i mfpgate.Identity) map[string]func(*mfpgate.Identity) {
	found := map[string]func(*mfpgate.Identity){}
	proof := func(text string) string {
		sum := sha256.Sum256([]byte(strings.ToLower(text))) // a key of the store is short
		return hex.EncodeToString(sum[:16])
	}
	if vendor, rest, _ := strings.Cut(i.USB, ":"); rest != "" {
		product, serial, _ := strings.Cut(rest, ":")
		if serial != "" {
			found[proof("usb:"+i.USB)] = func(i *mfpgate.Identity) { i.USB = vendor + ":" + product + ":" }
		}
	}
	if i.Serial != "" {
		found[proof("1284:"+i.Make+"|"+i.Model+"|"+i.Serial)] = func(i *mfpgate.Identity) { i.Serial = "" }
	}
	return found
}

// say notes what the printer on a port says. lies are what another one says at the same time, for keep, and others are the ports of
// those, for whom it is of no use any more either.
func (s *serials) say(port bus.Port, i mfpgate.Identity) (others []bus.Port, lies []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for proof := range proofs(i) {
		if s.saids[proof] == nil {
			s.saids[proof] = map[bus.Port]bool{}
		}
		s.saids[proof][port] = true
		if len(s.saids[proof]) > 1 && !s.lies[proof] {
			s.lies[proof] = true
			lies = append(lies, proof)
			for other := range s.saids[proof] {
				if other != port {
					others = append(others, other)
				}
			}
		}
	}
	return others, lies
}

// keep stores which serial numbers are of no use.
func (s *serials) keep(ctx context.Context, lies []string) error {
	if s.store == nil || len(lies) == 0 {
		return nil
	}
	return store.UpdateUntilKnown(ctx, s.store, func(tx store.Tx) error {
		var errs []error
		for _, proof := range lies {
			errs = append(errs, tx.Set(serialKey+proof, []byte("{}")))
		}
		return errors.Join(errs...)
	})
}

// leave forgets what the printer on a port said.
func (s *serials) leave(port bus.Port) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for proof, ports := range s.saids {
		if delete(ports, port); len(ports) == 0 {
			delete(s.saids, proof)
		}
	}
}

// honest is an identity without the numbers that are of no use.
func (s *serials) honest(i mfpgate.Identity) mfpgate.Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	for proof, blank := range proofs(i) {
		if s.lies[proof] {
			blank(&i)
		}
	}
	return i
}

// key names a printer for as long as it is one, for what is kept of it: by its serial number, else by its port.
func key(i mfpgate.Identity, d bus.Device) string {
	if _, serial, _ := strings.Cut(strings.TrimPrefix(i.USB, d.ID()), ":"); serial != "" {
		return i.USB
	}
	if i.Serial != "" {
		return d.ID() + ":" + i.Serial
	}
	return d.ID() + "@" + string(d.Port)
}
