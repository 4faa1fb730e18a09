package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/hawkbit"
	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/store"
)

// hawkbitSystem is the hawkBit that plans deliveries in the cloud's place.
type hawkbitSystem struct {
	*hawkbit.Client
	of config.Hawkbit
}

// newHawkbit returns nil if the configuration names none.
func newHawkbit(d *Daemon, cfg *config.Config) (*hawkbitSystem, error) {
	h := cfg.Schedule.Hawkbit
	if h.URL == nil {
		return nil, nil
	}
	c, err := hawkbit.New(hawkbit.Options{URL: h.URL.String(), User: h.User, Password: h.Password, Clock: d.Clock, Logger: d.log,
		Log: hawkbitLog{store.Prefix(d.shared, "hawkbit/")}, Targets: h.Targets, DeviceAttribute: h.DeviceAttribute, WindowAttribute: h.WindowAttribute,
		Zone: cfg.Site.TimeZone, Ahead: h.Ahead})
	if err != nil {
		return nil, fmt.Errorf("schedule.hawkbit: %w", err)
	}
	return &hawkbitSystem{c, h}, nil
}

// contract is what holds where no cloud gives one: hawkBit knows of none.
func (h *hawkbitSystem) contract(site *time.Location) mfpgate.Contract {
	return mfpgate.Contract{ID: "hawkbit", Version: "1", Mode: mfpgate.ScheduleAuto, LeadTime: h.of.LeadTime, Slot: 5 * time.Minute, MaxMove: 24 * time.Hour,
		NotifyMinExcess: 1, TimeZone: site.String(), Services: []string{mfpgate.ServiceDelivery}}
}

// hawkbitLog keeps the rows of the adapter's moves, by delivery.
type hawkbitLog struct{ rows store.Store }

func (l hawkbitLog) Intend(ctx context.Context, row hawkbit.Intent) error {
	return l.rows.Update(ctx, func(tx store.Tx) error { return store.SetJSON(tx, row.Delivery, row) })
}

func (l hawkbitLog) Done(ctx context.Context, delivery string) error {
	return l.rows.Update(ctx, func(tx store.Tx) error { return tx.Delete(delivery) })
}

func (l hawkbitLog) Pending(ctx context.Context) (list []hawkbit.Intent, err error) {
	err = l.rows.View(ctx, func(at store.Snapshot) error {
		for after := ""; ; {
			found, err := at.Scan("", after, store.MaxScan)
			if err != nil || len(found) == 0 {
				return err
			}
			for _, r := range found {
				var row hawkbit.Intent
				if err := json.Unmarshal(r.Value, &row); err != nil {
					return errors.Join(fmt.Errorf("record %q", r.Key), err)
				}
				list = append(list, row)
			}
			after = found[len(found)-1].Key
		}
	})
	return list, err
}
