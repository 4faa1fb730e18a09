package holding

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

const (
	schema       = 1
	recordPrefix = "device/"
)

var (
	mfpName        = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)
	registrationID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	regionName     = regexp.MustCompile(`^[a-z]{2}$`)
	moveID         = regexp.MustCompile(`^mov_[0-9A-Za-z]{1,64}$`)
	serviceName    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	className      = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)
	itemName       = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
)

func recordKey(mfp string) string                     { return recordPrefix + mfp }
func fenceKey(mfp string, move mfpgate.MoveID) string { return "fence/" + mfp + "/" + string(move) }
func checkInKey(mfp string) string                    { return "check-in/" + mfp }
func generationKey(mfp string, gen uint64) string     { return fmt.Sprintf("item/%s/%016x/", mfp, gen) }

func itemKey(mfp string, gen uint64, class, name string) string {
	return generationKey(mfp, gen) + class + "/" + name
}

// record is what is held of a device.
type record struct {
	Schema int    `json:"schema"`
	MFP    string `json:"mfp"`
	standing
	Data    map[string]amount `json:"data,omitempty"` // of the generation in use, by class
	Gen     uint64            `json:"gen"`            // in use; 0: none
	LastGen uint64            `json:"lastGen"`        // that was ever begun
	Waste   []waste           `json:"waste,omitempty"`
	Left    []left            `json:"left,omitempty"`
	Move    mfpgate.MoveID    `json:"moveId,omitempty"` // that it takes part in, or did last
	Open    bool              `json:"open,omitempty"`   // it takes part in that
	Before  *standing         `json:"before,omitempty"` // of what a move prepared here: what an abort brings back
}

// standing is what a device is here.
type standing struct {
	State        mfpgate.HoldingState     `json:"state"`
	Epoch        uint64                   `json:"epoch"`
	Registration string                   `json:"registration"`
	Since        time.Time                `json:"since"`
	Services     []mfpgate.HeldService    `json:"services,omitempty"`
	To           string                   `json:"to,omitempty"`      // of a moved one
	Foreign      string                   `json:"foreign,omitempty"` // region that holds the data
	Receipt      *mfpgate.DeletionReceipt `json:"receipt,omitempty"`
}

// amount is how much there is of a class.
type amount struct {
	Items int   `json:"items"`
	Bytes int64 `json:"bytes"`
}

// waste is a generation that is to be purged, but for some classes.
type waste struct {
	Gen  uint64   `json:"gen"`
	Keep []string `json:"keep,omitempty"`
}

// left is what stayed here of a device that was moved.
type left struct {
	Gen  uint64             `json:"gen"`
	Move mfpgate.MoveID     `json:"moveId"`
	Data []mfpgate.HeldData `json:"data"`
}

// fence is how far a move has come here. It is never deleted.
type fence struct {
	Schema   int                 `json:"schema"`
	Seq      int                 `json:"seq"`              // highest step that was begun
	Answer   *mfpgate.MoveAnswer `json:"answer,omitempty"` // of that step; nil: it is under way
	Ended    bool                `json:"ended,omitempty"`
	Sent     bool                `json:"sent,omitempty"`     // by a source: delta has succeeded
	Try      uint64              `json:"try,omitempty"`      // of a source: number of the transfer that was begun last
	Staging  uint64              `json:"staging,omitempty"`  // of a target: generation of the present transfer
	Source   uint64              `json:"source,omitempty"`   // of a target: audit entry with which the source began the transfer
	Digest   string              `json:"digest,omitempty"`   // of a target: of what was received
	Got      mfpgate.MoveStep    `json:"got,omitempty"`      // of a target: the transfer that was received last
	Unlinked []string            `json:"unlinked,omitempty"` // children, as service/child, that unlink has unlinked
	Seen     mfpgate.Seen        `json:"seen,omitempty"`
}

type checkIn struct {
	Epoch uint64    `json:"epoch"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

func loadRecord(g store.Getter, mfp string) (*record, error) {
	if !mfpName.MatchString(mfp) {
		return nil, fmt.Errorf("device %.40q: %w", mfp, ErrInvalid)
	}
	r, there, err := store.FindJSON[record](g, recordKey(mfp))
	if there && r.Schema > schema {
		return nil, fmt.Errorf("device %s: %w", mfp, store.ErrNewerSchema)
	}
	r.Schema, r.MFP = schema, mfp
	return &r, err
}

func (r *record) save(tx store.Tx) error { return store.SetJSON(tx, recordKey(r.MFP), r) }

// generation begins a new one, and uses it.
func (r *record) generation() {
	r.LastGen++
	r.Gen, r.Data = r.LastGen, nil
}

// discard makes waste of the generation in use.
func (r *record) discard() {
	if r.Gen != 0 {
		r.Waste = append(r.Waste, waste{Gen: r.Gen})
	}
	r.Gen, r.Data = 0, nil
}

// count adds to what is held of a class.
func (r *record) count(class string, items int, bytes int64) {
	if r.Data == nil {
		r.Data = map[string]amount{}
	}
	a := r.Data[class]
	a.Items, a.Bytes = a.Items+items, a.Bytes+bytes
	if r.Data[class] = a; a.Items == 0 {
		delete(r.Data, class)
	}
}

func (r *record) total() (sum amount) {
	for _, a := range r.Data {
		sum.Items, sum.Bytes = sum.Items+a.Items, sum.Bytes+a.Bytes
	}
	return sum
}

// held lists the classes that which, if it is not nil, wants.
func (r *record) held(which func(class string) bool) []mfpgate.HeldData {
	list := []mfpgate.HeldData{}
	for _, class := range slices.Sorted(maps.Keys(r.Data)) {
		if which == nil || which(class) {
			list = append(list, mfpgate.HeldData{Class: class, Items: r.Data[class].Items, Bytes: r.Data[class].Bytes})
		}
	}
	return list
}

// children are those that are linked, as service/child, in order.
func (r *record) children() (list []string) {
	for _, s := range r.Services {
		for _, c := range s.Children {
			list = append(list, s.ID+"/"+c)
		}
	}
	slices.Sort(list)
	return list
}

// unlink removes a child and tells whether it was there.
func (r *record) unlink(child string) bool {
	service, id, _ := strings.Cut(child, "/")
	for i, s := range r.Services {
		if at := slices.Index(s.Children, id); s.ID == service && at >= 0 {
			r.Services[i].Children = slices.Delete(s.Children, at, at+1)
			return true
		}
	}
	return false
}

// link adds a child to a service that is there.
func (r *record) link(child string) {
	service, id, _ := strings.Cut(child, "/")
	for i, s := range r.Services {
		if s.ID == service && !slices.Contains(s.Children, id) {
			r.Services[i].Children = append(s.Children, id)
			slices.Sort(r.Services[i].Children)
		}
	}
}

func loadFence(g store.Getter, mfp string, move mfpgate.MoveID) (*fence, error) {
	f, there, err := store.FindJSON[fence](g, fenceKey(mfp, move))
	if there && f.Schema > schema {
		return nil, fmt.Errorf("move %s of device %s: %w", move, mfp, store.ErrNewerSchema)
	}
	if !there {
		f.Seq = -1
	}
	f.Schema = schema
	return &f, err
}

// checkServices returns services in order, each with its children in order.
func checkServices(services []mfpgate.HeldService) ([]mfpgate.HeldService, error) {
	children := 0
	out := cloneServices(services)
	slices.SortFunc(out, func(a, b mfpgate.HeldService) int { return strings.Compare(a.ID, b.ID) })
	for i, s := range out {
		if !serviceName.MatchString(s.ID) || i > 0 && out[i-1].ID == s.ID {
			return nil, fmt.Errorf("service %.40q: %w", s.ID, ErrInvalid)
		}
		slices.Sort(s.Children)
		children += len(s.Children)
		for n, c := range s.Children {
			if !serviceName.MatchString(c) || n > 0 && s.Children[n-1] == c {
				return nil, fmt.Errorf("child %.40q of service %s: %w", c, s.ID, ErrInvalid)
			}
		}
	}
	if len(out) > MaxServices || children > MaxChildren {
		return nil, fmt.Errorf("%d services with %d children, at most %d and %d: %w", len(out), children, MaxServices, MaxChildren, ErrInvalid)
	}
	return out, nil
}

func checkItem(class, name string) error {
	if !className.MatchString(class) || !itemName.MatchString(name) {
		return fmt.Errorf("item %.40q of class %.40q: %w", name, class, ErrInvalid)
	}
	return nil
}

// maxWriters bounds what a message may tell of other writers.
const maxWriters = 32

func checkOrder(o mfpgate.MoveOrder) error {
	bad := func(what string) error { return fmt.Errorf("order of a move: %s: %w", what, ErrInvalid) }
	switch {
	case !mfpName.MatchString(o.MFP):
		return bad("device")
	case !moveID.MatchString(string(o.Move)):
		return bad("move")
	case o.Step.Seq() < 0:
		return bad("step")
	case !regionName.MatchString(o.From) || !regionName.MatchString(o.To) || o.From == o.To:
		return bad("regions")
	case o.Epoch == 0:
		return bad("epoch")
	case len(o.Children) > MaxChildren || len(o.Data) > MaxClasses+1 || len(o.Seen) > maxWriters:
		return bad("more than is held of a device")
	}
	for writer := range o.Seen {
		if len(writer) > 256 {
			return bad("seen")
		}
	}
	for class, p := range o.Data {
		if class != "" && !className.MatchString(class) || p != mfpgate.DataMove && p != mfpgate.DataReset && p != mfpgate.DataLeave {
			return bad("data policy")
		}
	}
	return nil
}

// policy is what becomes of a class: what is not named is moved.
func policy(data map[string]mfpgate.DataPolicy, class string) mfpgate.DataPolicy {
	for _, name := range []string{class, ""} {
		if p, named := data[name]; named {
			return p
		}
	}
	return mfpgate.DataMove
}

func saveAll(tx store.Tx, r *record, move mfpgate.MoveID, f *fence) error {
	return errors.Join(r.save(tx), store.SetJSON(tx, fenceKey(r.MFP, move), f))
}

// keyed is a lock for each key.
type keyed struct {
	mu    sync.Mutex
	locks map[string]*counted
}

type counted struct {
	sync.Mutex
	users int
}

// lock returns what unlocks.
func (k *keyed) lock(key string) (unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*counted{}
	}
	l := k.locks[key]
	if l == nil {
		l = &counted{}
		k.locks[key] = l
	}
	l.users++
	k.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		k.mu.Lock()
		if l.users--; l.users == 0 {
			delete(k.locks, key)
		}
		k.mu.Unlock()
	}
}
