package client

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
)

const (
	moveWait      = 45 * time.Second // that the server may hold back an answer; below api.MaxMoveWait
	movePage      = 100
	maxMoves      = 16 << 20 // bytes; a page of moves, each with its plan, stays below
	maxResidences = 20_000   // of one gateway
	maxRegionKeys = 8        // of one region
	maxRegions    = 256
)

// Moves is the part of the wire that is about moves between regions. A refusal that will come again is a mfpgate.Refused, of which
// Error is the region's own sentence for people. It is safe for concurrent use.
type Moves struct {
	c      *Client
	region string

	mu   sync.Mutex
	keys []ed25519.PublicKey
}

// Moves returns it for the gateway's own region, such as "jp". pinned are the keys under which the region signs; without them those
// count that the region itself names when they are first needed, which the caller keeps from Pinned.
func (c *Client) Moves(region string, pinned []ed25519.PublicKey) *Moves {
	return &Moves{c: c, region: region, keys: pinned}
}

// Pinned are the keys that count; none before the first Hosts without any.
func (m *Moves) Pinned() []ed25519.PublicKey {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.keys
}

// Plan says what a move would do.
func (m *Moves) Plan(ctx context.Context, r mfpgate.MoveRequest) (mfpgate.MovePlan, error) {
	var out mfpgate.MovePlan
	err := m.post(ctx, rand.Text(), api.MoveStart{MoveRequest: r, DryRun: true}, &out, "moves")
	switch {
	case err != nil:
	case out.Device != r.Device || r.To != "" && out.To != r.To:
		err = fmt.Errorf("%w: a plan of %q to %q", ErrAnswer, clip(string(out.Device)), clip(out.To))
	case out.Hash == "":
		err = fmt.Errorf("%w: a plan without its hash", ErrAnswer)
	}
	if err != nil {
		return mfpgate.MovePlan{}, fmt.Errorf("plan a move of %s: %w", r.Device, err)
	}
	return out, nil
}

// Start begins a move as its plan says. key makes it idempotent; "" is a new one.
func (m *Moves) Start(ctx context.Context, r mfpgate.MoveRequest, actor, key string) (mfpgate.Move, error) {
	if key == "" {
		key = rand.Text()
	}
	var out mfpgate.Move
	err := m.post(ctx, key, api.MoveStart{MoveRequest: r, Actor: actor}, &out, "moves")
	if err == nil && (out.ID == "" || out.Device != r.Device || r.To != "" && out.To != r.To) {
		err = fmt.Errorf("%w: move %q of %q to %q", ErrAnswer, clip(string(out.ID)), clip(string(out.Device)), clip(out.To))
	}
	if err != nil {
		return mfpgate.Move{}, fmt.Errorf("start a move of %s: %w", r.Device, err)
	}
	return out, nil
}

// Changes returns the gateway's moves that have changed since cursor ("": all), at most a page, and the next cursor. It waits up to
// 45 seconds for a change, and returns an empty page then.
func (m *Moves) Changes(ctx context.Context, cursor string) (moves []mfpgate.Move, next string, err error) {
	u := m.c.gateway("moves")
	u.RawQuery = url.Values{"after": {cursor}, "wait": {strconv.Itoa(int(moveWait / time.Second))}, "limit": {strconv.Itoa(movePage)}}.Encode()
	var out api.MovesPage
	// The wait comes on top of what a call may last that is answered at once.
	_, err = m.c.endpoint.Call(ctx, Call{Method: http.MethodGet, URL: u, Out: &out, Bound: maxMoves, Timeout: moveWait + m.c.o.Timeout})
	switch {
	case err != nil:
		err = refused(err)
	case len(out.Items) > movePage:
		err = fmt.Errorf("%w: more than %d", ErrAnswer, movePage)
	case out.NextCursor == "" || len(out.Items) > 0 && out.NextCursor == cursor:
		err = fmt.Errorf("%w: it does not say where to go on", ErrAnswer)
	}
	for _, each := range out.Items {
		if err == nil && (each.ID == "" || each.Device == "") {
			err = fmt.Errorf("%w: a move without an id or a device", ErrAnswer)
		}
	}
	if err != nil {
		return nil, cursor, fmt.Errorf("changes of moves: %w", err)
	}
	return out.Items, out.NextCursor, nil
}

// Abort takes a move back that is not committed.
func (m *Moves) Abort(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error) {
	return m.act(ctx, id, api.VerbAbort, api.MoveAct{Actor: actor})
}

// Retry has a move try its step again at once.
func (m *Moves) Retry(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error) {
	return m.act(ctx, id, api.VerbRetry, api.MoveAct{Actor: actor})
}

// ConfirmLost gives up waiting for a move's device.
func (m *Moves) ConfirmLost(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error) {
	return m.act(ctx, id, api.VerbConfirmLost, api.MoveAct{Actor: actor})
}

// Probed tells of the certificates of the target.
func (m *Moves) Probed(ctx context.Context, id mfpgate.MoveID, probes []mfpgate.NameProbe, seen mfpgate.Seen) error {
	_, err := m.act(ctx, id, api.VerbProbes, api.MoveAct{Probes: probes, Seen: seen})
	return err
}

// Switched acknowledges that routes lead to the target.
func (m *Moves) Switched(ctx context.Context, id mfpgate.MoveID, epoch uint64, seen mfpgate.Seen) error {
	_, err := m.act(ctx, id, api.VerbSwitch, api.MoveAct{Epoch: epoch, Seen: seen})
	return err
}

// CheckedIn tells that the device has been seen on its way to the target.
func (m *Moves) CheckedIn(ctx context.Context, id mfpgate.MoveID, epoch uint64, at time.Time, seen mfpgate.Seen) error {
	_, err := m.act(ctx, id, api.VerbCheckIns, api.MoveAct{Epoch: epoch, At: at.UTC(), Seen: seen})
	return err
}

// act is idempotent by what it asks for, so that its key is a new one each time.
func (m *Moves) act(ctx context.Context, id mfpgate.MoveID, verb string, what api.MoveAct) (mfpgate.Move, error) {
	var out mfpgate.Move
	err := m.post(ctx, rand.Text(), what, &out, "moves", string(id), verb)
	if err == nil && out.ID != id {
		err = fmt.Errorf("%w: it is of move %q", ErrAnswer, clip(string(out.ID)))
	}
	if err != nil {
		return mfpgate.Move{}, fmt.Errorf("%s of move %s: %w", verb, id, err)
	}
	return out, nil
}

// Residences say of each device that this gateway has told of where its data are.
func (m *Moves) Residences(ctx context.Context) ([]mfpgate.Residence, error) {
	var all []mfpgate.Residence
	for cursor := ""; ; {
		u := m.c.gateway("residences")
		if cursor != "" {
			u.RawQuery = url.Values{"cursor": {cursor}}.Encode()
		}
		var page api.Page[mfpgate.Residence]
		if _, err := m.c.callUpTo(ctx, maxMoves, http.MethodGet, u, nil, nil, &page); err != nil {
			return nil, fmt.Errorf("residences: %w", refused(err))
		}
		all = append(all, page.Items...)
		switch {
		case len(all) > maxResidences:
			return nil, fmt.Errorf("residences: %w: more than %d", ErrAnswer, maxResidences)
		case page.NextCursor == "":
			return all, nil
		case page.NextCursor == cursor || len(page.Items) == 0:
			return nil, fmt.Errorf("residences: %w: a page that leads to itself, or is empty", ErrAnswer)
		}
		cursor = page.NextCursor
	}
}

// Enrol registers a device of another market in the region, under the id that its market gave it. Reason api.UnknownHere: neither
// region knows it.
func (m *Moves) Enrol(ctx context.Context, device mfpgate.DeviceID, actor string) (mfpgate.Residence, error) {
	var out mfpgate.Residence
	err := m.post(ctx, rand.Text(), api.EnrolRequest{DeviceID: device, Actor: actor}, &out, "registrations")
	if err == nil && out.Device != device {
		err = fmt.Errorf("%w: it is of %q", ErrAnswer, clip(string(out.Device)))
	}
	if err != nil {
		return mfpgate.Residence{}, fmt.Errorf("register %s: %w", device, err)
	}
	return out, nil
}

// Keys asks the region for the keys under which it signs now.
func (m *Moves) Keys(ctx context.Context) ([]ed25519.PublicKey, error) {
	var doc api.RegionKeys
	if _, err := m.c.call(ctx, http.MethodGet, m.c.endpoint.Path("v1", "region-keys"), nil, nil, &doc); err != nil {
		return nil, fmt.Errorf("keys of region %s: %w", m.region, refused(err))
	}
	texts := doc.Keys[m.region]
	if len(texts) == 0 || len(texts) > maxRegionKeys {
		return nil, fmt.Errorf("keys of region %s: %w: it has %d", m.region, ErrAnswer, len(texts))
	}
	keys := make([]ed25519.PublicKey, len(texts))
	for i, text := range texts {
		var err error
		if keys[i], err = jws.ParseKey(text); err != nil {
			return nil, fmt.Errorf("keys of region %s: %w: %q is none", m.region, ErrAnswer, clip(text))
		}
	}
	return keys, nil
}

// Hosts are the hosts of every region, as the region signed them. A document under other keys than the pinned ones is ErrAnswer and
// jws.ErrSignature.
func (m *Moves) Hosts(ctx context.Context) ([]mfpgate.RegionHosts, error) {
	keys := m.Pinned()
	if len(keys) == 0 {
		var err error
		if keys, err = m.Keys(ctx); err != nil {
			return nil, err
		}
	}
	var doc api.SignedRegions
	if _, err := m.c.call(ctx, http.MethodGet, m.c.endpoint.Path("v1", "regions"), nil, nil, &doc); err != nil {
		return nil, fmt.Errorf("hosts of regions: %w", refused(err))
	}
	var hosts []mfpgate.RegionHosts
	if err := jws.Open(keys, api.PurposeRegions, doc.Signed, &hosts); err != nil {
		return nil, fmt.Errorf("hosts of regions: %w: %w", ErrAnswer, err)
	}
	if len(hosts) > maxRegions {
		return nil, fmt.Errorf("hosts of regions: %w: more than %d regions", ErrAnswer, maxRegions)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.keys) == 0 {
		m.keys = keys // they have proven that the region has their other half
	}
	return hosts, nil
}

func (m *Moves) post(ctx context.Context, key string, in, out any, path ...string) error {
	_, err := m.c.call(ctx, http.MethodPost, m.c.gateway(path...), header{"Idempotency-Key": key}, in, out)
	return refused(err)
}

// refusal is an *Error that will come again, as people and callers read it.
type refusal struct{ of *Error }

func (r *refusal) Error() string {
	if r.of.Problem.Detail != "" {
		return r.of.Problem.Detail
	}
	return r.of.Error()
}

func (r *refusal) Why() mfpgate.Reason { return r.of.Reason() }
func (r *refusal) Unwrap() error       { return r.of }

func refused(err error) error {
	var e *Error
	if errors.As(err, &e) && errors.Is(err, mfpgate.ErrRefused) {
		return &refusal{e}
	}
	return err
}
