package server

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store"
)

// claimRecord says whose device a physical one is in this region. Its key is what the device says of itself: a unique index.
type claimRecord struct {
	Gateway  string    `json:"gateway"`
	DeviceID string    `json:"deviceId"`
	At       time.Time `json:"at"`
}

// claimKeys are the keys that a device claims: its printer-uuid, and its make, model and serial together. Values that makers
// leave unset are no identity: two devices would have the same.
func claimKeys(d api.Device) []string {
	var keys []string
	if uuid := mfpgate.CleanUUID(d.UUID); uuid != "" {
		keys = append(keys, "claim/uuid/"+uuid)
	}
	parts := []string{d.Make, d.Model, mfpgate.CleanSerial(d.Serial)}
	for i, p := range parts {
		parts[i] = strings.ToLower(strings.Join(strings.Fields(p), " "))
	}
	if parts[0] != "" && parts[1] != "" && parts[2] != "" {
		sum := sha256.Sum256([]byte(strings.Join(parts, "\x00"))) // foreign text may be longer than a key
		keys = append(keys, "claim/serial/"+hex.EncodeToString(sum[:]))
	}
	return keys
}

// claim gives the device's keys to it, and frees those that it had before and has no more. A key that another gateway holds
// refuses. One of another id of the same gateway moves: the gateway has lost its state and gives the device a new id.
func claim(tx store.Tx, gateway string, before, after api.Device, now time.Time) error {
	want := claimKeys(after)
	for _, key := range want {
		held, there, err := store.FindJSON[claimRecord](tx, key)
		if err != nil {
			return err
		}
		switch {
		case there && held.Gateway != gateway:
			return refuse(http.StatusConflict, ReasonDeviceTaken, fmt.Sprintf(
				"gateway %s tells of this device, as %s; switch its monitoring off there, or delete it from that gateway on the operator's page or with `mfpcloud device delete %s %s`",
				held.Gateway, held.DeviceID, held.Gateway, held.DeviceID))
		case there && held.DeviceID == after.DeviceID:
			continue
		}
		if err := put(tx, key, claimRecord{gateway, after.DeviceID, now}); err != nil {
			return err
		}
	}
	return unclaim(tx, gateway, before, want...)
}

// unclaim frees the keys that the device holds, but those to keep.
func unclaim(tx store.Tx, gateway string, d api.Device, keep ...string) error {
	for _, key := range claimKeys(d) {
		if slices.Contains(keep, key) {
			continue
		}
		held, there, err := store.FindJSON[claimRecord](tx, key)
		if err != nil {
			return err
		}
		if there && held.Gateway == gateway && held.DeviceID == d.DeviceID {
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
	}
	return nil
}
