package holding

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

// Room is the second half of the name of the audit chain; the first is the region.
const Room = "services"

// What is held of one device, at most.
const (
	MaxItem     = 32 << 10 // bytes of an item
	MaxItems    = 2000
	MaxBytes    = 8 << 20 // of all items
	MaxClasses  = 32
	MaxServices = 32
	MaxChildren = 128 // of all services
)

var (
	// ErrDraining is returned for a change while the device is being moved: the change is to be made again later.
	ErrDraining = errors.New("the device is being moved to another region and takes no changes now; try again in some seconds")
	// ErrNoItem is returned for an item that is not there.
	ErrNoItem = errors.New("no such item")
	// ErrInvalid is returned for names and sizes that are not within bounds.
	ErrInvalid = errors.New("not valid")
	// ErrFull is returned by Put when the device has as much as is held of one.
	ErrFull = errors.New("the device has no room for more; delete items that are not needed")
)

// Moved is returned for a device that another region answers.
type Moved struct{ To string }

func (m *Moved) Error() string {
	return fmt.Sprintf("region %s has the device now; ask the management server for the directive", m.To)
}

// Options say what surrounds a Book. All but Sign, Offers and Changed are required.
type Options struct {
	Clock  mfpgate.Clock
	Store  store.Store // a view of its own
	Region string
	// Send hands a transfer to the services of region to, which Receive it.
	Send func(ctx context.Context, to string, t mfpgate.HoldingTransfer) (mfpgate.MoveAnswer, error)
	// Offers is what this region offers to its devices; a copy with something else is refused. Nil: whatever comes is offered.
	Offers func() ([]mfpgate.ServiceOffer, error)
	// Sign signs a deletion receipt under the region's key. Nil: receipts are not signed.
	Sign func(mfpgate.DeletionReceipt) (string, error)
	// Changed is told after each change of what a device is here; nil is nobody. It must not block.
	Changed func(mfp string)
}

// Book holds devices. It is safe for concurrent use; no other Book may use its view of the store. It implements region.Services.
type Book struct {
	o       Options
	journal *journal.Journal
	sending keyed
}

var _ region.Services = (*Book)(nil)

// New makes a book of what its store holds.
func New(o Options) (*Book, error) {
	if o.Clock == nil || o.Store == nil || o.Region == "" || o.Send == nil {
		return nil, errors.New("holding: clock, store, region and send are required")
	}
	j, err := journal.New(o.Store, journal.Options{
		Clock: o.Clock, Rand: rand.New(rand.NewPCG(0, 0)), // for delays of calls, of which there are none
		Gateway: o.Region, Room: Room,
	})
	if err != nil {
		return nil, err
	}
	return &Book{o: o, journal: j}, nil
}

// Offers implements region.Services: what the region offers in its own country, and nothing elsewhere.
func (b *Book) Offers(_ context.Context, country string) ([]mfpgate.ServiceOffer, error) {
	if country != b.o.Region || b.o.Offers == nil {
		return nil, nil
	}
	return b.o.Offers()
}

// Register enters a device, with no data: as active or, if foreign names the region that holds its data, as foreign under that
// region's id. A device that is entered already under the same id stays as it is. *Moved for one that was moved away from here under
// that id; region.ErrOutOfTurn for one that is held under another id or takes part in a move; ErrInvalid.
func (b *Book) Register(ctx context.Context, mfp, registration string, epoch uint64, services []mfpgate.HeldService, foreign string) (mfpgate.Holding, error) {
	services, err := checkServices(services)
	if err != nil {
		return mfpgate.Holding{}, err
	}
	if !mfpName.MatchString(mfp) || !registrationID.MatchString(registration) || epoch == 0 || foreign == b.o.Region || foreign != "" && !regionName.MatchString(foreign) {
		return mfpgate.Holding{}, fmt.Errorf("register device %.40q under %.40q: %w", mfp, registration, ErrInvalid)
	}
	state := mfpgate.HoldingActive
	if foreign != "" {
		state = mfpgate.HoldingForeign
	}
	err = b.update(ctx, mfp, func(tx store.Tx) error {
		r, err := loadRecord(tx, mfp)
		if err != nil {
			return err
		}
		switch {
		case r.State == mfpgate.HoldingAbsent || r.State == mfpgate.HoldingAborted:
		case r.Registration == registration && r.State == mfpgate.HoldingMoved:
			return &Moved{r.To}
		case r.Registration == registration:
			return nil // and what is held stays as it is, whatever the device says
		case r.State == mfpgate.HoldingMoved && foreign == "":
			return &Moved{r.To}
		default:
			return fmt.Errorf("register device %s: it is %s here under %s: %w", mfp, r.State, r.Registration, region.ErrOutOfTurn)
		}
		r.State, r.Epoch, r.Registration, r.Services, r.Foreign = state, epoch, registration, services, foreign
		r.Since, r.To, r.Data, r.Receipt = b.now(), "", nil, nil
		if r.Gen = 0; state == mfpgate.HoldingActive {
			r.generation()
		}
		return errors.Join(b.trace(tx, r, nil, mark{actor: "registration", seq: -1}), r.save(tx))
	})
	if err != nil {
		return mfpgate.Holding{}, err
	}
	return b.Holding(ctx, mfp)
}

// Holding implements region.Services: what is held of a device, with the digest of what a move would copy if every class were moved.
// region.ErrNoHolding.
func (b *Book) Holding(ctx context.Context, mfp string) (h mfpgate.Holding, err error) {
	err = b.o.Store.View(ctx, func(s store.Snapshot) error {
		r, err := loadRecord(s, mfp)
		if err != nil {
			return err
		}
		if r.State == mfpgate.HoldingAbsent {
			return region.ErrNoHolding
		}
		if h, err = b.holding(s, r); err != nil || r.Gen == 0 {
			return err
		}
		items, err := readItems(s, r, nil)
		h.Digest = Digest(r.Services, items)
		return err
	})
	if err != nil {
		return mfpgate.Holding{}, fmt.Errorf("holding of device %.40q: %w", mfp, err)
	}
	return h, nil
}

// List returns up to limit (1 to store.MaxScan) holdings of devices after one, in their order, without digests.
func (b *Book) List(ctx context.Context, after string, limit int) (list []mfpgate.Holding, err error) {
	err = b.o.Store.View(ctx, func(s store.Snapshot) error {
		list = nil
		if after != "" {
			after = recordKey(after)
		}
		for len(list) < limit {
			page, err := s.Scan(recordPrefix, after, limit-len(list))
			if err != nil || len(page) == 0 {
				return err
			}
			for _, row := range page {
				after = row.Key
				r, err := loadRecord(s, strings.TrimPrefix(row.Key, recordPrefix))
				if err != nil {
					return err
				}
				if r.State == mfpgate.HoldingAbsent {
					continue
				}
				h, err := b.holding(s, r)
				if err != nil {
					return err
				}
				list = append(list, h)
			}
		}
		return nil
	})
	return list, err
}

func (b *Book) holding(g store.Getter, r *record) (mfpgate.Holding, error) {
	h := mfpgate.Holding{
		MFP: r.MFP, Region: b.o.Region, State: r.State, Epoch: r.Epoch, Registration: r.Registration, Since: r.Since,
		Services: cloneServices(r.Services), Data: r.held(nil), To: cmp.Or(r.To, r.Foreign), Move: r.Move,
	}
	if r.Receipt != nil && !r.Receipt.PurgedAt.IsZero() { // else the purge is under way
		h.Receipt = r.Receipt
	}
	if r.State == mfpgate.HoldingMoved {
		h.Data = nil
		for _, l := range r.Left {
			h.Data = append(h.Data, l.Data...)
		}
	}
	if r.Move != "" {
		f, err := loadFence(g, r.MFP, r.Move)
		if err != nil {
			return h, err
		}
		h.Seq = f.Seq
	}
	seen, _, err := store.FindJSON[checkIn](g, checkInKey(r.MFP))
	if err == nil && seen.Epoch == r.Epoch {
		h.CheckedIn, h.LastCheckIn = seen.First, seen.Last
	}
	return h, err
}

// update runs fn until it is known whether it was committed, and tells of it.
func (b *Book) update(ctx context.Context, mfp string, fn func(store.Tx) error) error {
	err := store.UpdateUntilKnown(ctx, b.o.Store, fn)
	if err == nil && b.o.Changed != nil {
		b.o.Changed(mfp)
	}
	return err
}

func cloneServices(services []mfpgate.HeldService) []mfpgate.HeldService {
	out := slices.Clone(services)
	for i := range out {
		out[i].Children = slices.Clone(out[i].Children)
	}
	return out
}
