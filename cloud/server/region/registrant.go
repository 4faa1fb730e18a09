package region

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	broker "github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/store"
)

// registrant is a device as the management server knows it. State is HoldingAbsent while its registration is not complete.
type registrant struct {
	MFP          string                `json:"mfp"`
	Model        string                `json:"model"`
	Serial       string                `json:"serial"`
	Name         string                `json:"name,omitempty"`
	Registration string                `json:"registration"`
	Epoch        uint64                `json:"epoch"`
	Region       string                `json:"region"` // that holds it
	State        mfpgate.HoldingState  `json:"state"`
	Since        time.Time             `json:"since"`
	Services     []mfpgate.HeldService `json:"services"`         // that it was registered with
	Record       json.RawMessage       `json:"record,omitempty"` // of the management server that it came from, until it checks in here
	Left         *left                 `json:"left,omitempty"`   // of a moved one
}

// left says how a device left this region.
type left struct {
	Move      mfpgate.MoveID    `json:"moveId"`
	Seq       int               `json:"seq"` // highest step that was executed
	Directive mfpgate.Directive `json:"directive"`
	AckedAt   time.Time         `json:"ackedAt,omitzero"`
	Seen      mfpgate.Seen      `json:"seen,omitempty"`
}

func registrantKey(mfp string) string { return "registrant/" + mfp }

// serialKey is the place of the one device of a model and serial number, "" for words that identify nothing.
func serialKey(model, serial string) string {
	model, serial = strings.ToLower(clean(model)), mfpgate.CleanSerial(serial)
	if model == "" || serial == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(model + "\x00" + strings.ToLower(serial)))
	return "serial/" + hex.EncodeToString(sum[:])
}

// named is what a serial key leads to.
type named struct {
	MFP string `json:"mfp"`
}

// bySerial returns the device of a model and serial number.
func bySerial(g store.Getter, model, serial string) (r registrant, there bool, err error) {
	key := serialKey(model, serial)
	if key == "" {
		return r, false, nil
	}
	n, there, err := store.FindJSON[named](g, key)
	if err != nil || !there {
		return r, false, err
	}
	return store.FindJSON[registrant](g, registrantKey(n.MFP))
}

// claim gives the model and serial number to a device, or refuses: another one has them.
func claim(tx store.Tx, before, after registrant) error {
	key, was := serialKey(after.Model, after.Serial), serialKey(before.Model, before.Serial)
	if key == "" {
		return refuse(http.StatusUnprocessableEntity, ReasonNoSerial, "model %.64q with serial number %.64q identifies no device", after.Model, after.Serial)
	}
	n, there, err := store.FindJSON[named](tx, key)
	if err != nil {
		return err
	}
	if there && n.MFP != after.MFP {
		return refuse(http.StatusConflict, ReasonTaken, "device %s is registered with model %.64q and serial number %.64q", n.MFP, after.Model, after.Serial)
	}
	if was != "" && was != key {
		if err := tx.Delete(was); err != nil {
			return err
		}
	}
	return store.SetJSON(tx, key, named{after.MFP})
}

// read returns a device by its factory id.
func (m *Management) read(ctx context.Context, mfp string) (r registrant, there bool, err error) {
	err = m.Store.View(ctx, func(at store.Snapshot) error {
		r, there, err = store.FindJSON[registrant](at, registrantKey(mfp))
		return err
	})
	return r, there, err
}

// known returns a device by its model and serial number.
func (m *Management) known(ctx context.Context, model, serial string) (r registrant, there bool, err error) {
	err = m.Store.View(ctx, func(at store.Snapshot) error {
		r, there, err = bySerial(at, model, serial)
		return err
	})
	return r, there, err
}

// Left reports whether a device is registered in this region no more, and where.
func (m *Management) Left(ctx context.Context, mfp string) (to string, gone bool, err error) {
	r, there, err := m.read(ctx, mfp)
	return r.Region, there && r.State == mfpgate.HoldingMoved, err
}

// Adopted is what a move brought of a device from the management server that it left, until it has checked in here. at is a view of
// the store that has the management server's at ManagementPrefix.
func Adopted(at store.Getter, mfp string) (json.RawMessage, error) {
	r, _, err := store.FindJSON[registrant](at, ManagementPrefix+registrantKey(mfp))
	return r.Record, err
}

// find is what other regions are told of a device. broker.ErrNoHolding.
func (m *Management) find(ctx context.Context, model, serial string) (mfpgate.Registrant, error) {
	r, there, err := m.known(ctx, model, serial)
	if err != nil {
		return mfpgate.Registrant{}, err
	}
	if !there || r.State == mfpgate.HoldingAbsent {
		return mfpgate.Registrant{}, fmt.Errorf("model %.64q with serial number %.64q at the management server of %s: %w", model, serial, m.Region, broker.ErrNoHolding)
	}
	out := mfpgate.Registrant{
		// The asker's own spelling: it compares.
		MFP: r.MFP, Model: model, Serial: serial, Registration: r.Registration, Region: r.Region, Epoch: r.Epoch, State: r.State, Since: r.Since,
		Services: held(r.Services), Data: []mfpgate.HeldData{},
	}
	if r.State != mfpgate.HoldingActive {
		return out, nil
	}
	h, err := ownServices{m}.Holding(ctx, r.MFP)
	if err != nil {
		return mfpgate.Registrant{}, err
	}
	out.Services, out.Data, out.State = held(h.Services), append(out.Data, h.Data...), h.State
	return out, nil
}

// handover is what a management server hands over of a device that moves.
type handover struct {
	MFP          string          `json:"mfp"`
	Model        string          `json:"model"`
	Serial       string          `json:"serial"`
	Name         string          `json:"name,omitempty"`
	Registration string          `json:"registration"` // the old one
	Epoch        uint64          `json:"epoch"`        // of that
	Record       json.RawMessage `json:"record,omitempty"`
}

// maxRecord bounds what is taken of another region, in bytes.
const maxRecord = 32 << 10

// adopt takes a device over in the transaction of the commit.
func (m *Management) adopt(tx store.Tx, move mfpgate.Move, data json.RawMessage) error {
	var h handover
	if len(data) > maxRecord {
		return errors.New("what the source's management server handed over is longer than this one takes")
	}
	if err := json.Unmarshal(data, &h); err != nil {
		return fmt.Errorf("what the source's management server handed over: %w", err)
	}
	if h.MFP != move.MFP || provision.CheckName(h.MFP) != nil || len(h.Name) > 256 || len(h.Model) > 256 || len(h.Serial) > 256 {
		return fmt.Errorf("the source's management server handed over %.64q instead of %s", h.MFP, move.MFP)
	}
	before, _, err := store.FindJSON[registrant](tx, registrantKey(h.MFP))
	if err != nil {
		return err
	}
	if before.Epoch >= move.Epoch {
		return fmt.Errorf("device %s is here already, in epoch %d", h.MFP, before.Epoch)
	}
	r := registrant{
		MFP: h.MFP, Model: h.Model, Serial: h.Serial, Name: h.Name, Registration: move.NewRegistration, Epoch: move.Epoch, Region: m.Region,
		State: mfpgate.HoldingActive, Since: m.now(), Services: planned(move.Plan), Record: h.Record,
	}
	if err := claim(tx, before, r); err != nil {
		return err
	}
	return store.SetJSON(tx, registrantKey(r.MFP), r)
}

// planned are the services that a move brings.
func planned(p mfpgate.MovePlan) (list []mfpgate.HeldService) {
	for _, s := range p.Services {
		h := mfpgate.HeldService{ID: s.ID, Children: []string{}}
		for _, c := range p.Children {
			if c.Service == s.ID && c.Action == "keep" {
				h.Children = append(h.Children, c.ID)
			}
		}
		list = append(list, h)
	}
	return list
}

func (m *Management) now() time.Time { return m.Clock.Now().Round(0).UTC() }
