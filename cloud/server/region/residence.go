package region

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mfpgate/mfpgate"
	broker "github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/cloud/api"
)

const (
	askedAtOnce = 8
	askedWithin = 5 * time.Second
	maxAsked    = 20_000           // devices whose answers are remembered
	abroadFor   = time.Minute      // an answer of another region
	homeFor     = 5 * time.Second  // of the own services
	downFor     = 10 * time.Second // a region that did not answer is not asked again
)

// Why a residence is not known.
const (
	ResidenceNoSerial  = ReasonNoSerial
	ResidenceNobody    = mfpgate.Reason(api.UnknownHere)
	ResidenceUnreached = ReasonUnreached
)

// residences remember what other roles and regions said of devices.
type residences struct {
	mu   sync.Mutex
	of   map[string]remembered
	down map[string]time.Time // when a region did not answer
}

type remembered struct {
	until   time.Time
	found   mfpgate.Registrant
	holding mfpgate.Holding
	err     error
}

// forget drops all: something has changed.
func (r *residences) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.of)
}

func (r *residences) get(key string, now time.Time) (remembered, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found, ok := r.of[key]
	return found, ok && now.Before(found.until)
}

func (r *residences) keep(key string, what remembered) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil || len(r.of) >= maxAsked {
		r.of = map[string]remembered{}
	}
	r.of[key] = what
}

func (r *residences) isDown(region string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.down[region]
	return ok && now.Sub(at) < downFor
}

func (r *residences) note(region string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down == nil {
		r.down = map[string]time.Time{}
	}
	r.down[region] = now
}

// listResidences says of a gateway's devices where their data are.
func (m *Management) listResidences(ctx context.Context, in *struct {
	GatewayPath
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
	Cursor string `query:"cursor" maxLength:"256"`
}) (*struct{ Body api.Page[mfpgate.Residence] }, error) {
	after, err := base64.RawURLEncoding.DecodeString(in.Cursor)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, ReasonCursor, "the cursor is not one of this list's; start again without one")
	}
	list, next, err := m.Devices(ctx, in.Gateway, string(after), in.Limit)
	if err != nil {
		return nil, answer(err)
	}
	moves, err := m.movesOf(ctx, in.Gateway)
	if err != nil {
		return nil, answer(err)
	}
	page := api.Page[mfpgate.Residence]{Items: make([]mfpgate.Residence, len(list))}
	if next != "" {
		page.NextCursor = base64.RawURLEncoding.EncodeToString([]byte(next))
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(askedAtOnce)
	for i, d := range list {
		g.Go(func() (err error) {
			page.Items[i], err = m.resides(gctx, d, moves, true)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, answer(err)
	}
	return &struct{ Body api.Page[mfpgate.Residence] }{page}, nil
}

// residence is that of one device, asked for anew.
func (m *Management) residence(ctx context.Context, gateway string, d mfpgate.Device) (mfpgate.Residence, error) {
	moves, err := m.movesOf(ctx, gateway)
	if err != nil {
		return mfpgate.Residence{}, err
	}
	return m.resides(ctx, d, moves, false)
}

// movesOf are the moves that a gateway asked for, by device, the newest first.
func (m *Management) movesOf(ctx context.Context, gateway string) (map[string][]mfpgate.Move, error) {
	list, err := m.saga.List(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b mfpgate.Move) int { return b.StartedAt.Compare(a.StartedAt) })
	of := map[string][]mfpgate.Move{}
	for _, move := range list {
		if move.Gateway == gateway {
			of[move.MFP] = append(of[move.MFP], move)
		}
	}
	return of, nil
}

// resides says where a device's data are; older tells whether an answer that is remembered will do.
func (m *Management) resides(ctx context.Context, d mfpgate.Device, moves map[string][]mfpgate.Move, older bool) (mfpgate.Residence, error) {
	out := mfpgate.Residence{
		Device: d.ID, Market: d.Market, State: mfpgate.ResidenceUnknown,
		Services: []mfpgate.HeldService{}, Data: []mfpgate.ResidentData{}, Receipts: []mfpgate.DeletionReceipt{},
	}
	if serialKey(d.Model, d.Serial) == "" {
		out.Reason, out.Detail = ResidenceNoSerial, "the gateway knows no model and serial number that identify the device"
		return out, nil
	}
	r, there, err := m.known(ctx, d.Model, d.Serial)
	if err != nil {
		return out, err
	}
	switch {
	case there && r.State == mfpgate.HoldingActive:
		m.atHome(ctx, &out, r, older)
	case there && r.State == mfpgate.HoldingForeign:
		out.MFP, out.Home, out.State, out.Registration, out.Epoch, out.Since = r.MFP, r.Region, mfpgate.ResidenceForeign, r.Registration, r.Epoch, r.Since
		out.Services = held(r.Services)
		if found, err := m.ask(ctx, r.Region, d, older); err == nil {
			out.Data = resident(found.Data, found.Region)
		} else {
			out.Reason, out.Detail = ResidenceUnreached, "region "+r.Region+" does not say what it holds of the device"
		}
	default:
		m.abroad(ctx, &out, d, r, older)
	}
	for i, move := range moves[out.MFP] {
		if i == 0 {
			out.Move = move.ID
		}
		if move.State == mfpgate.MoveOpen || move.State == mfpgate.MoveCompensating {
			out.State, out.Move = mfpgate.ResidenceMoving, move.ID
		}
		if move.Receipt != nil {
			out.Receipts = append(out.Receipts, *move.Receipt)
		}
	}
	return out, nil
}

// atHome says what the own services hold.
func (m *Management) atHome(ctx context.Context, out *mfpgate.Residence, r registrant, older bool) {
	out.MFP, out.Home, out.State, out.Registration, out.Epoch, out.Since = r.MFP, m.Region, mfpgate.ResidenceHome, r.Registration, r.Epoch, r.Since
	out.Services = held(r.Services)
	now := m.Clock.Now()
	said, ok := m.asked.get(m.Region+"/"+r.MFP, now)
	if !ok || !older {
		ctx, cancel := context.WithTimeout(ctx, askedWithin)
		defer cancel()
		said.holding, said.err = ownServices{m}.Holding(ctx, r.MFP)
		said.until = now.Add(homeFor)
		m.asked.keep(m.Region+"/"+r.MFP, said)
	}
	if said.err != nil {
		out.Reason, out.Detail = ResidenceUnreached, "the services of "+m.Region+" do not say what they hold of the device"
		return
	}
	h := said.holding
	out.Services, out.Data = held(h.Services), resident(h.Data, m.Region)
	if !h.Since.IsZero() {
		out.Since = h.Since
	}
}

// abroad asks the device's market, or every peer if nobody says which that is, where the device is.
func (m *Management) abroad(ctx context.Context, out *mfpgate.Residence, d mfpgate.Device, before registrant, older bool) {
	peers, err := m.links.names()
	if err != nil {
		out.Reason, out.Detail = ResidenceUnreached, "it cannot be read now which regions are peers of "+m.Region
		return
	}
	var ask []string
	for _, name := range append([]string{before.Region, d.Market}, peers...) { // where it went first; its market; anybody
		if slices.Contains(peers, name) && !slices.Contains(ask, name) {
			ask = append(ask, name)
		}
	}
	silent := ""
	for _, name := range ask {
		found, err := m.ask(ctx, name, d, older)
		if err == nil && found.State == mfpgate.HoldingMoved && found.Region != name && slices.Contains(peers, found.Region) {
			if next, err := m.ask(ctx, found.Region, d, older); err == nil && next.Epoch >= found.Epoch {
				found = next
			}
		}
		switch {
		case err == nil && found.State == mfpgate.HoldingForeign: // it only uses services there
		case err == nil:
			out.MFP, out.Home, out.State, out.Registration, out.Epoch, out.Since = found.MFP, found.Region, mfpgate.ResidenceAbroad, found.Registration, found.Epoch, found.Since
			out.Services, out.Data = held(found.Services), resident(found.Data, found.Region)
			return
		case !errors.Is(err, broker.ErrNoHolding):
			silent = name
		}
	}
	switch {
	case silent != "":
		out.Reason, out.Detail = ResidenceUnreached, "region "+silent+" cannot be asked now"
	default:
		out.Reason, out.Detail = ResidenceNobody, "no region that was asked knows the device; it registers in its market when it is switched on there"
	}
}

// ask asks a region's management server for a device, or remembers what it said.
func (m *Management) ask(ctx context.Context, region string, d mfpgate.Device, older bool) (mfpgate.Registrant, error) {
	key, now := region+"/"+serialKey(d.Model, d.Serial), m.Clock.Now()
	if said, ok := m.asked.get(key, now); ok && older {
		return said.found, said.err
	}
	if m.asked.isDown(region, now) && older {
		return mfpgate.Registrant{}, errDown
	}
	link, err := m.links.to(region)
	if err != nil {
		return mfpgate.Registrant{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, askedWithin)
	defer cancel()
	found, err := management{region, link.Management}.Find(ctx, clean(d.Model), strings.TrimSpace(d.Serial))
	if err != nil && !errors.Is(err, broker.ErrNoHolding) {
		m.asked.note(region, now)
		return found, err
	}
	m.asked.keep(key, remembered{until: now.Add(abroadFor), found: found, err: err})
	return found, err
}

var errDown = errors.New("the region did not answer a moment ago")

func resident(data []mfpgate.HeldData, region string) []mfpgate.ResidentData {
	list := make([]mfpgate.ResidentData, len(data))
	for i, d := range data {
		list[i] = mfpgate.ResidentData{HeldData: d, Region: region}
	}
	return list
}
