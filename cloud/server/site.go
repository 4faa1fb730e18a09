package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store"
)

// A gateway's reports say what its relay itself can serve, and what the site plans beside the region. Without that the region would
// offer hours that the gateway must refuse.
//
// It may be longer than a record, so it is cut into pieces.
const (
	sitePiece  = 48 << 10 // bytes
	sitePieces = 8
)

// siteRecord is the part of the last report that is about the site.
type siteRecord struct {
	Capacity   []api.SnapshotCapacity   `json:"capacity,omitempty"`
	Background []api.BackgroundSchedule `json:"background,omitempty"`
}

func siteKey(gateway string, piece int) string { return "site/" + gateway + "/" + itoa(piece) }

// putSite keeps what a report says of the site, in place of what the one before said.
func putSite(tx store.Tx, gateway string, r api.OverloadReport) error {
	text, err := json.Marshal(siteRecord{r.Capacity, r.Background})
	if err != nil {
		return err
	}
	if len(text) > sitePiece*sitePieces {
		return refuse(http.StatusUnprocessableEntity, ReasonTooLarge, "capacity and background are too long together; name fewer devices")
	}
	for i := range sitePieces {
		n := min(len(text), sitePiece)
		if n == 0 {
			if err := tx.Delete(siteKey(gateway, i)); err != nil {
				return err
			}
			continue
		}
		if err := tx.Set(siteKey(gateway, i), text[:n]); err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}

// site adds what the gateway says of its site. The region's own background of an id outranks the site's.
func (o *situation) site(at store.Getter, gateway string) error {
	var text []byte
	for i := range sitePieces {
		piece, err := at.Get(siteKey(gateway, i))
		if errors.Is(err, store.ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
		text = append(text, piece...)
	}
	if len(text) == 0 {
		return nil
	}
	var r siteRecord
	if err := json.Unmarshal(text, &r); err != nil {
		return err
	}
	for _, c := range r.Capacity {
		o.snapshot.Capacity = append(o.snapshot.Capacity, mfpgate.CapacityStep(c))
	}
	for _, b := range r.Background {
		if !slices.ContainsFunc(o.snapshot.Background, func(own mfpgate.Background) bool { return own.ID == b.ServiceID }) {
			o.snapshot.Background = append(o.snapshot.Background, b.Root())
		}
	}
	return nil
}
