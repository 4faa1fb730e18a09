package registering

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store"
)

const rowSchema = 1

// row is a request that the gateway handed out, under "request/" and the gateway's id of it.
type row struct {
	Schema  int                     `json:"schema"`
	Request string                  `json:"request"`
	Local   string                  `json:"local"`             // the device's own registration; "" where none could be made
	Failure *api.RegistrationResult `json:"failure,omitempty"` // why
	// Told is the state that the gateway has taken. Over: it expects nothing more. The row stays until the request is open at the
	// gateway no more, so that an answer that was on its way does not begin it anew.
	Told mfpgate.RegistrationState `json:"told,omitempty"`
	Over bool                      `json:"over,omitempty"`
}

const (
	requestPrefix = "request/"
	selfKey       = "self"
)

// self is how the gateway names this device, under "self".
type self struct {
	Schema int              `json:"schema"`
	ID     mfpgate.DeviceID `json:"deviceId"`
}

func (r *Registrar) loadSelf(ctx context.Context) (mfpgate.DeviceID, error) {
	var s self
	err := r.rows.View(ctx, func(at store.Snapshot) error { return store.GetJSON(at, selfKey, &s) })
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", fmt.Errorf("read how the gateway names the device: %w", err)
	}
	return s.ID, nil
}

func (r *Registrar) keepSelf(ctx context.Context, id mfpgate.DeviceID) error {
	r.mu.Lock()
	same := r.self == id
	r.self = id
	r.mu.Unlock()
	if same {
		return nil
	}
	return r.rows.Update(ctx, func(tx store.Tx) error { return store.SetJSON(tx, selfKey, self{rowSchema, id}) })
}

// AtGateway is how the gateway names this device; "" before it has said so.
func (r *Registrar) AtGateway() mfpgate.DeviceID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.self
}

func (r *Registrar) loadRows(ctx context.Context) (map[string]*row, error) {
	rows := map[string]*row{}
	err := r.rows.View(ctx, func(at store.Snapshot) error {
		for record, err := range store.All(at, requestPrefix) {
			if err != nil {
				return err
			}
			w := &row{}
			if err := json.Unmarshal(record.Value, w); err != nil {
				return fmt.Errorf("record %s: %w", record.Key, err)
			}
			rows[w.Request] = w
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the gateway's requests: %w", err)
	}
	return rows, nil
}

func (r *Registrar) saveRow(ctx context.Context, w *row) error {
	w.Schema = rowSchema
	err := r.rows.Update(ctx, func(tx store.Tx) error { return store.SetJSON(tx, requestPrefix+w.Request, w) })
	if err != nil {
		return fmt.Errorf("keep request %s: %w", w.Request, err)
	}
	return nil
}

func (r *Registrar) dropRow(ctx context.Context, request string) error {
	err := r.rows.Update(ctx, func(tx store.Tx) error { return tx.Delete(requestPrefix + request) })
	if err != nil {
		return fmt.Errorf("drop request %s: %w", request, err)
	}
	return nil
}
