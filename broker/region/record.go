package region

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

const schema = 1

const (
	movePrefix     = "move/"
	gonePrefix     = "gone/"
	openPrefix     = "open/"
	stagedPrefix   = "staged/"
	feedPrefix     = "feed/"
	feedHeadPrefix = "feedhead/"
)

// record is a move as the store has it.
type record struct {
	Schema int `json:"schema"`
	mfpgate.Move
	Position uint64                        `json:"position"` // in the feed of its gateway
	Policies map[string]mfpgate.DataPolicy `json:"policies"` // of orders: each class of the plan, and "" for those that come
	Unlinked []string                      `json:"unlinked"` // the children of unlink, as service/child
	Digest   string                        `json:"digest,omitempty"`
	Verified bool                          `json:"verified,omitempty"` // the copy is; the gateway's probes are waited for
	Probed   bool                          `json:"probed,omitempty"`   // they came
	Why      mfpgate.Reason                `json:"why,omitempty"`      // it is taken back
	Said     string                        `json:"said,omitempty"`
	Timers   map[string]timer              `json:"timers,omitempty"`
}

// timer is when something happens if nothing else does before.
type timer struct {
	At   time.Time     `json:"at"`
	Wait time.Duration `json:"wait"` // as it was armed: a clock that was set back does not make it longer
}

func moveKey(id mfpgate.MoveID) string { return movePrefix + string(id) }

// openKey is the place of a device's one open move. The name of a device is foreign text of any length.
func openKey(mfp string) string {
	sum := sha256.Sum256([]byte(mfp))
	return openPrefix + hex.EncodeToString(sum[:20])
}

func feedOf(gateway string) string { return feedPrefix + url.PathEscape(gateway) + "/" }

func feedHead(gateway string) string { return feedHeadPrefix + url.PathEscape(gateway) }

func feedKey(gateway string, position uint64) string {
	return fmt.Sprintf("%s%020d", feedOf(gateway), position)
}

// change is an entry of the feed.
type change struct {
	Move   mfpgate.MoveID    `json:"moveId"`
	State  mfpgate.MoveState `json:"state"`
	Step   mfpgate.MoveStep  `json:"step"`
	Reason mfpgate.Reason    `json:"reason,omitempty"`
}

// errNoMove is returned by getRecord for an id that no move has.
var errNoMove = errors.New("there is no such move")

func getRecord(g store.Getter, id mfpgate.MoveID) (*record, error) {
	if id == "" || len(id) > 64 || strings.Contains(string(id), "/") {
		return nil, errNoMove
	}
	data, err := g.Get(moveKey(id))
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNoMove
	}
	if err != nil {
		return nil, err
	}
	return decodeRecord(id, data)
}

func decodeRecord(id mfpgate.MoveID, data []byte) (*record, error) {
	r := new(record)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("move %.64q: %w: %w", id, store.ErrDamaged, err)
	}
	if r.Schema > schema {
		return nil, fmt.Errorf("move %.64q: schema %d: %w", id, r.Schema, store.ErrNewerSchema)
	}
	if r.Schema < 1 || r.ID != id {
		return nil, fmt.Errorf("move %.64q: %w", id, store.ErrDamaged)
	}
	return r, nil
}

// save keeps a move, and puts it at the end of its gateway's feed.
func save(tx store.Tx, r *record) error {
	last, _, err := store.FindJSON[uint64](tx, feedHead(r.Gateway))
	if err != nil {
		return err
	}
	if r.Position > 0 {
		if err := tx.Delete(feedKey(r.Gateway, r.Position)); err != nil {
			return err
		}
	}
	r.Position = last + 1
	return errors.Join(
		store.SetJSON(tx, feedHead(r.Gateway), r.Position),
		store.SetJSON(tx, feedKey(r.Gateway, r.Position), change{r.ID, r.State, r.Step, r.Reason}),
		keep(tx, r))
}

// keep is save of what gateways need not hear of.
func keep(tx store.Tx, r *record) error { return store.SetJSON(tx, moveKey(r.ID), r) }

// sweep removes a move that ended long ago. Its id stays taken.
func sweep(tx store.Tx, r *record) error {
	return errors.Join(tx.Delete(moveKey(r.ID)), tx.Delete(feedKey(r.Gateway, r.Position)), tx.Set(gonePrefix+string(r.ID), []byte("{}")))
}
