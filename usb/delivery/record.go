package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"path/filepath"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

const (
	schema        = 1
	orderPrefix   = "order/"
	settledPrefix = "settled/"

	kindCheckIn = "check-in"
	kindDeliver = "deliver"
	kindReport  = "report"
)

// phase is where an order stands; see the package's comment.
type phase string

const (
	planned phase = "planned"
	begun   phase = "begun"
	fetched phase = "fetched"
	sending phase = "sending"
	ended   phase = "ended"
)

// record is a device's order.
type record struct {
	Schema int                     `json:"schema"`
	Device mfpgate.DeviceID        `json:"device"`
	Order  mfpgate.DeliveryOrder   `json:"order"`
	Phase  phase                   `json:"phase"`
	Life   string                  `json:"life,omitempty"`   // of phase sending: of whom
	Report *mfpgate.DeliveryReport `json:"report,omitempty"` // of phase ended
	Ended  time.Time               `json:"ended,omitzero"`
}

// settled is an order that ended.
type settled struct {
	Schema   int       `json:"schema"`
	Delivery string    `json:"delivery"`
	Start    time.Time `json:"start"`
}

// end is when the order may not begin any more.
func (r *record) end() time.Time {
	if r.Order.LatestEnd.IsZero() {
		return r.Order.Start.Add(noWindow)
	}
	return r.Order.LatestEnd
}

// key is the idempotency key of a report.
func (r *record) key(what string) string {
	return r.Order.Delivery + "/" + r.Order.Version + "/" + what
}

// same reports whether the order is that of the other record.
func (r *record) same(o mfpgate.DeliveryOrder) bool {
	return r.Order.Delivery == o.Delivery && r.Order.Version == o.Version && r.Order.Start.Equal(o.Start) && r.Order.LatestEnd.Equal(o.LatestEnd) && r.Order.Package == o.Package
}

func find(at store.Getter, device mfpgate.DeviceID) (*record, error) {
	r, there, err := store.FindJSON[record](at, orderPrefix+string(device))
	if err != nil || !there {
		return nil, err
	}
	if r.Schema > schema {
		return nil, store.ErrNewerSchema
	}
	return &r, nil
}

func put(tx store.Tx, r *record) error { return store.SetJSON(tx, orderPrefix+string(r.Device), r) }

func (d *Deliveries) record(ctx context.Context, device mfpgate.DeviceID) (r *record, err error) {
	err = d.Store.View(ctx, func(at store.Snapshot) error {
		r, err = find(at, device)
		return err
	})
	return r, err
}

// errOvertaken ends work on an order in whose place there is another, or none.
var errOvertaken = errors.New("the order has changed")

// advance commits a change of r, whose order and phase must be those in the store, and takes it over. It is for what is not the result of
// the journal's call.
func (d *Deliveries) advance(ctx context.Context, r *record, change func(*record)) error {
	next := *r
	change(&next)
	err := store.ErrUnknown
	for tries := 0; errors.Is(err, store.ErrUnknown) && tries < 4; tries++ {
		err = d.Store.Update(ctx, func(tx store.Tx) error {
			now, err := find(tx, r.Device)
			switch {
			case err != nil:
				return err
			case now == nil || !now.same(r.Order):
				return errOvertaken
			case now.Phase == next.Phase && now.Life == next.Life: // a commit whose outcome was unknown
				return nil
			case now.Phase != r.Phase:
				return errOvertaken
			}
			return put(tx, &next)
		})
	}
	if err == nil {
		*r = next
	}
	return err
}

// over is how a call of the journal stores that the delivery is over, and has it reported.
func (d *Deliveries) over(r *record, report mfpgate.DeliveryReport) func(store.Tx) error {
	return func(tx store.Tx) error {
		now, err := find(tx, r.Device)
		if err != nil || now == nil || !now.same(r.Order) || now.Phase == ended {
			return err
		}
		return d.close(tx, now, report)
	}
}

// close ends an order in the caller's transaction.
func (d *Deliveries) close(tx store.Tx, r *record, report mfpgate.DeliveryReport) error {
	report.Delivery, report.Package = r.Order.Delivery, r.Order.Package.ID
	if v, known := d.device(r.Device); known { // once: what is sent again under the same key must be the same
		report.Firmware = v.Firmware
	}
	r.Schema, r.Phase, r.Report, r.Ended = schema, ended, &report, d.Clock.Now().UTC().Round(0)
	return errors.Join(put(tx, r), d.journal.Intend(tx, journal.Intent{ID: intent(kindReport, r.Device), Kind: kindReport, Payload: payload(r.Device)}))
}

func intent(kind string, device mfpgate.DeviceID) string { return kind + "/" + string(device) }

func payload(device mfpgate.DeviceID) json.RawMessage {
	text, _ := json.Marshal(device) // a text has no way to fail
	return text
}

func deviceOf(in journal.Intent) (id mfpgate.DeviceID, err error) {
	if err := json.Unmarshal(in.Payload, &id); err != nil {
		return "", journal.Permanent(err)
	}
	return id, nil
}

// file is where the package of an order is, or will be. Neither id is a file's name as it is.
func (d *Deliveries) file(r *record) string {
	sum := sha256.Sum256([]byte(string(r.Device) + "\x00" + r.Order.Package.SHA256))
	return filepath.Join(d.Dir, hex.EncodeToString(sum[:16])+suffix)
}

const suffix = ".package"
