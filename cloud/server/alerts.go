package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store"
)

const (
	// maxAlerts is how many alerts of one gateway are kept; storing one more drops the oldest in the same transaction.
	maxAlerts = 2000
	// maxOpen is how many conditions of one device are kept as open; beyond it the oldest is taken for ended. The largest still
	// fits into one record together.
	maxOpen = 16
)

// openRecord is what is wrong with a device now, by rising time of arrival. It outlives the list's own bound.
type openRecord struct {
	Alerts []api.StoredAlert `json:"alerts"`
}

func alertPrefix(gateway string) string { return "alert/" + gateway + "/" }
func alertKey(gateway string, n uint64) string {
	return fmt.Sprintf("%s%016d", alertPrefix(gateway), n)
}
func openPrefix(gateway string) string      { return "open/" + gateway + "/" }
func openKey(gateway, device string) string { return openPrefix(gateway) + device }

func (s *Server) postAlerts(ctx context.Context, in *struct {
	GatewayPath
	Idempotent
	Body api.AlertBatch
}) (*posted[api.Accepted], error) {
	if err := in.need(); err != nil {
		return nil, err
	}
	now := s.Clock.Now().UTC()
	answer, err := take(ctx, s, batch[api.AlertItem]{
		gateway: in.Gateway, kind: kindAlerts, stream: in.Body.Stream, items: in.Body.Items,
		sequence: func(i api.AlertItem) uint64 { return i.Sequence },
		cost: func(i api.AlertItem, touched map[string]bool) int {
			if touched[i.Alert.DeviceID] {
				return 2 // itself, and the one that it drops
			}
			touched[i.Alert.DeviceID] = true
			return 3
		},
		keep: func(tx store.Tx, r *streamRecord, items []api.AlertItem) error {
			return keepAlerts(tx, in.Gateway, r, items, now)
		},
	})
	if err != nil {
		return nil, err
	}
	return answered(answer, false), nil
}

func keepAlerts(tx store.Tx, gateway string, r *streamRecord, items []api.AlertItem, now time.Time) error {
	open := map[string]*openRecord{}
	for _, i := range items {
		a := api.StoredAlert{ReceivedAt: now, Alert: i.Alert}
		a.At = a.At.UTC()
		r.Alerts++
		if err := put(tx, alertKey(gateway, r.Alerts), a); err != nil {
			return err
		}
		if r.Alerts > maxAlerts {
			if err := tx.Delete(alertKey(gateway, r.Alerts-maxAlerts)); err != nil {
				return err
			}
		}
		o, ok := open[a.DeviceID]
		if !ok {
			kept, _, err := store.FindJSON[openRecord](tx, openKey(gateway, a.DeviceID))
			if err != nil {
				return err
			}
			o = &kept
			open[a.DeviceID] = o
		}
		o.apply(a)
	}
	for device, o := range open {
		if len(o.Alerts) == 0 {
			if err := tx.Delete(openKey(gateway, device)); err != nil {
				return err
			}
			continue
		}
		if err := put(tx, openKey(gateway, device), o); err != nil {
			return err
		}
	}
	return nil
}

// apply ends the condition that the alert is about, and begins it anew if the alert does. A condition is its code: a begin and
// its end are two alerts with ids of their own.
func (o *openRecord) apply(a api.StoredAlert) {
	if !a.Cleared && !a.Opens() {
		return
	}
	o.Alerts = slices.DeleteFunc(o.Alerts, func(b api.StoredAlert) bool { return b.Code == a.Code })
	if a.Opens() {
		o.Alerts = append(o.Alerts, a)
	}
	o.Alerts = o.Alerts[max(0, len(o.Alerts)-maxOpen):]
}

func (s *Server) listAlerts(ctx context.Context, in *struct {
	GatewayPath
	Conditional
	Paging
	Open bool `query:"open" doc:"Only the begins of conditions that have not ended, by device"`
}) (*read[api.Page[api.StoredAlert]], error) {
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	var list api.Page[api.StoredAlert]
	if in.Open {
		list, err = s.openAlerts(ctx, in.Gateway, after, in.Limit)
	} else {
		list.Items, list.NextCursor, err = page[api.StoredAlert](ctx, s.Store, alertPrefix(in.Gateway), after, in.Limit)
	}
	if err != nil {
		return nil, internal(err)
	}
	return listAnswer(in.Conditional, list)
}

// openAlerts is a page of what is open. Its cursor is the device and the alert that the page before ended with.
func (s *Server) openAlerts(ctx context.Context, gateway, after string, limit int) (api.Page[api.StoredAlert], error) {
	list := api.Page[api.StoredAlert]{Items: []api.StoredAlert{}}
	device, last, _ := strings.Cut(after, "/")
	// add takes what fits and reports whether all did.
	add := func(alerts []api.StoredAlert) bool {
		for _, a := range alerts {
			if len(list.Items) == limit {
				end := list.Items[limit-1]
				list.NextCursor = cursor(end.DeviceID + "/" + end.AlertID)
				return false
			}
			list.Items = append(list.Items, a)
		}
		return true
	}
	err := s.Store.View(ctx, func(at store.Snapshot) error {
		from := ""
		if device != "" {
			from = openKey(gateway, device)
			o, _, err := store.FindJSON[openRecord](at, from)
			if err != nil {
				return err
			}
			// The alert may have ended since: then the device's others are told again rather than left out.
			n := slices.IndexFunc(o.Alerts, func(a api.StoredAlert) bool { return a.AlertID == last })
			if !add(o.Alerts[n+1:]) {
				return nil
			}
		}
		found, err := at.Scan(openPrefix(gateway), from, limit+1) // each has one at least
		if err != nil {
			return err
		}
		for _, r := range found {
			var o openRecord
			if err := json.Unmarshal(r.Value, &o); err != nil {
				return fmt.Errorf("record %q: %w", r.Key, err)
			}
			if !add(o.Alerts) {
				return nil
			}
		}
		return nil
	})
	if errors.Is(err, store.ErrKey) || errors.Is(err, store.ErrTooLarge) {
		return list, nil // a cursor of the caller's own making
	}
	return list, err
}
