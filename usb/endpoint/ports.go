package endpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate/store"
)

// The ports that endpoints have. Those from 60000 on are ipp-usb's first, and Linux's last for outgoing connections
// (net.ipv4.ip_local_port_range ends at 60999): they are taken when the others are used up.
const (
	firstPort = 60000
	freePort  = 61000
	lastPort  = 65535
)

const (
	table      = "usb/endpoint/ports" // one record, so that two devices cannot get one port
	maxDevices = 128                  // in it: 64 KiB hold some 180 of the longest
	maxTaken   = 256                  // ports of other programs that are passed over
	maxKey     = 96                   // bytes
)

// assignments is the record.
type assignments struct {
	Schema  int          `json:"schema"`
	Devices []assignment `json:"devices"`
}

// assignment is what a device has.
type assignment struct {
	Key    string    `json:"key"`
	Port   uint16    `json:"port"`
	Served time.Time `json:"served"`         // when it was served last
	Wanted string    `json:"wanted"`         // the name that it was to be published under
	Name   string    `json:"name,omitempty"` // the one that it got, where that is another
}

// bounded is a key as the table has it. What a device calls its serial number may be anything.
func bounded(key string) string {
	if len(key) <= maxKey && !slices.ContainsFunc([]byte(key), func(c byte) bool { return c < ' ' || c > '~' || c == '<' || c == '>' || c == '&' }) {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// assign gives the device its port, and stores that: the one that it had, unless that is among the taken, else the first that no device
// has. In a full table the device that was served least lately loses its own.
func (e *Endpoints) assign(ctx context.Context, key string, taken map[uint16]bool) (a assignment, err error) {
	e.mu.Lock()
	live := map[string]bool{}
	for key := range e.live {
		live[key] = true
	}
	e.mu.Unlock()
	err = store.UpdateUntilKnown(ctx, e.o.Store, func(tx store.Tx) error {
		t, err := readTable(tx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(t.Devices, func(a assignment) bool { return a.Key == key })
		if i < 0 {
			if len(t.Devices) >= maxDevices && !t.drop(live) {
				return fmt.Errorf("%d devices are served: %w", len(t.Devices), ErrNoPort)
			}
			t.Devices = append(t.Devices, assignment{Key: key})
			i = len(t.Devices) - 1
		}
		if t.Devices[i].Port == 0 || taken[t.Devices[i].Port] {
			if t.Devices[i].Port = t.free(taken); t.Devices[i].Port == 0 {
				return ErrNoPort
			}
		}
		t.Devices[i].Served = e.o.Clock.Now().UTC().Truncate(time.Second)
		a = t.Devices[i]
		return store.SetJSON(tx, table, t)
	})
	if err != nil {
		return assignment{}, fmt.Errorf("find its port: %w", err)
	}
	return a, nil
}

func readTable(tx store.Getter) (assignments, error) {
	t, _, err := store.FindJSON[assignments](tx, table)
	if err != nil {
		return assignments{}, err
	}
	if t.Schema > 1 {
		return assignments{}, fmt.Errorf("record %q has schema %d: %w", table, t.Schema, store.ErrNewerSchema)
	}
	t.Schema = 1
	return t, nil
}

// free is a port that no device has and no other program, or 0.
func (t assignments) free(taken map[uint16]bool) uint16 {
	used := map[uint16]bool{}
	for _, a := range t.Devices {
		used[a.Port] = true
	}
	for n := range lastPort - firstPort + 1 {
		port := freePort + n
		if port > lastPort {
			port -= lastPort - firstPort + 1
		}
		if p := uint16(port); !used[p] && !taken[p] {
			return p
		}
	}
	return 0
}

// drop forgets the device that was served least lately, of those that are not served now.
func (t *assignments) drop(live map[string]bool) bool {
	oldest := -1
	for i, a := range t.Devices {
		if !live[a.Key] && (oldest < 0 || a.Served.Before(t.Devices[oldest].Served)) {
			oldest = i
		}
	}
	if oldest < 0 {
		return false
	}
	t.Devices = slices.Delete(t.Devices, oldest, oldest+1)
	return true
}

// rename stores under which name a device was published at last.
func (e *Endpoints) rename(ctx context.Context, key, wanted, name string) error {
	return store.UpdateUntilKnown(ctx, e.o.Store, func(tx store.Tx) error {
		t, err := readTable(tx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(t.Devices, func(a assignment) bool { return a.Key == key })
		if i < 0 || t.Devices[i].Wanted == wanted && t.Devices[i].Name == name {
			return nil
		}
		t.Devices[i].Wanted, t.Devices[i].Name = wanted, name
		return store.SetJSON(tx, table, t)
	})
}
