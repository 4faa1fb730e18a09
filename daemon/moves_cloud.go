package daemon

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region/route"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
	"github.com/mfpgate/mfpgate/cloud/client"
)

// moveCloud is the site region's cloud as the configuration names it now. It implements route.Cloud.
type moveCloud struct {
	daemon *Daemon
	pins   pins

	mu    sync.Mutex
	of    *client.Client
	cloud string // as cloudName has it
	moves *client.Moves
}

func newMoveCloud(d *Daemon) *moveCloud {
	return &moveCloud{daemon: d, pins: pins{file: filepath.Join(d.config.Load().StateDir, "region-keys.json")}}
}

// away says that nothing is known of what came of a call, or that none was made.
type away struct{ err error }

func (a away) Error() string {
	return "the cloud of the site's region gives no usable answer: " + a.err.Error()
}
func (a away) Unwrap() error { return a.err }

// Delay is what the answer asked for, if it was one.
func (a away) Delay() time.Duration { return mfpgate.RetryDelay(a.err) }

// call returns the cloud that the configuration names.
func (c *moveCloud) call() (*client.Moves, error) {
	cfg := c.daemon.config.Load()
	if cfg.Cloud.URL == nil {
		return nil, away{route.ErrNoCloud}
	}
	of, err := c.daemon.call(cfg.Cloud)
	if err != nil {
		return nil, away{err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moves != nil && c.of == of {
		return c.moves, nil
	}
	name := cloudName(cfg.Cloud)
	keys, err := c.pins.load(name)
	if err != nil {
		return nil, away{err}
	}
	c.of, c.cloud, c.moves = of, name, of.Moves(cfg.Site.Region, keys)
	return c.moves, nil
}

// answeredMove tells refusals, which a cloud has thought about, from everything else.
func answeredMove(err error) error {
	var no mfpgate.Refused
	if err == nil || errors.As(err, &no) {
		return err
	}
	return away{err}
}

// Plan implements route.Cloud.
func (c *moveCloud) Plan(ctx context.Context, r mfpgate.MoveRequest) (mfpgate.MovePlan, error) {
	m, err := c.call()
	if err != nil {
		return mfpgate.MovePlan{}, err
	}
	plan, err := m.Plan(ctx, r)
	return plan, answeredMove(err)
}

// Start implements route.Cloud.
func (c *moveCloud) Start(ctx context.Context, r mfpgate.MoveRequest, actor, key string) (mfpgate.Move, error) {
	return c.move(func(m *client.Moves) (mfpgate.Move, error) { return m.Start(ctx, r, actor, key) })
}

// Changes implements route.Cloud.
func (c *moveCloud) Changes(ctx context.Context, cursor string) ([]mfpgate.Move, string, error) {
	m, err := c.call()
	if err != nil {
		return nil, cursor, err
	}
	list, next, err := m.Changes(ctx, cursor)
	return list, next, answeredMove(err)
}

// Abort implements route.Cloud.
func (c *moveCloud) Abort(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error) {
	return c.move(func(m *client.Moves) (mfpgate.Move, error) { return m.Abort(ctx, id, actor) })
}

// Retry implements route.Cloud.
func (c *moveCloud) Retry(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error) {
	return c.move(func(m *client.Moves) (mfpgate.Move, error) { return m.Retry(ctx, id, actor) })
}

// ConfirmLost implements route.Cloud.
func (c *moveCloud) ConfirmLost(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error) {
	return c.move(func(m *client.Moves) (mfpgate.Move, error) { return m.ConfirmLost(ctx, id, actor) })
}

func (c *moveCloud) move(do func(*client.Moves) (mfpgate.Move, error)) (mfpgate.Move, error) {
	m, err := c.call()
	if err != nil {
		return mfpgate.Move{}, err
	}
	out, err := do(m)
	return out, answeredMove(err)
}

// Probed implements route.Cloud.
func (c *moveCloud) Probed(ctx context.Context, id mfpgate.MoveID, probes []mfpgate.NameProbe, seen mfpgate.Seen) error {
	return c.tell(func(m *client.Moves) error { return m.Probed(ctx, id, probes, seen) })
}

// Switched implements route.Cloud.
func (c *moveCloud) Switched(ctx context.Context, id mfpgate.MoveID, epoch uint64, seen mfpgate.Seen) error {
	return c.tell(func(m *client.Moves) error { return m.Switched(ctx, id, epoch, seen) })
}

// CheckedIn implements route.Cloud.
func (c *moveCloud) CheckedIn(ctx context.Context, id mfpgate.MoveID, epoch uint64, at time.Time, seen mfpgate.Seen) error {
	return c.tell(func(m *client.Moves) error { return m.CheckedIn(ctx, id, epoch, at, seen) })
}

func (c *moveCloud) tell(do func(*client.Moves) error) error {
	m, err := c.call()
	if err != nil {
		return err
	}
	return answeredMove(do(m))
}

// Residences implements route.Cloud.
func (c *moveCloud) Residences(ctx context.Context) ([]mfpgate.Residence, error) {
	m, err := c.call()
	if err != nil {
		return nil, err
	}
	list, err := m.Residences(ctx)
	return list, answeredMove(err)
}

// Enrol implements route.Cloud.
func (c *moveCloud) Enrol(ctx context.Context, device mfpgate.DeviceID, actor string) (mfpgate.Residence, error) {
	m, err := c.call()
	if err != nil {
		return mfpgate.Residence{}, err
	}
	r, err := m.Enrol(ctx, device, actor)
	var no mfpgate.Refused
	if errors.As(err, &no) && no.Why() == api.UnknownHere {
		return r, fmt.Errorf("%w: %w", route.ErrUnknownHere, err)
	}
	return r, answeredMove(err)
}

// Hosts implements route.Cloud. The keys under which the region signs are pinned at the first contact, before anything is believed
// that they signed; what is signed with others later is refused, so that the old hosts stay in force.
func (c *moveCloud) Hosts(ctx context.Context) ([]mfpgate.RegionHosts, error) {
	m, err := c.call()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	name := c.cloud
	c.mu.Unlock()
	first := len(m.Pinned()) == 0
	list, err := m.Hosts(ctx)
	h := c.daemon.health
	switch {
	case errors.Is(err, jws.ErrSignature):
		h.set(RegionKeysChanged, fmt.Sprintf("the region signs its hosts under another key than the one of the first contact, and the hosts known before stay in force. "+
			"Ask its operator whether the key was changed; if it was, stop the gateway, remove %s and start it: %v", c.pins.file, err))
	case err == nil:
		if first {
			if err := c.pin(name, m.Pinned()); err != nil {
				return nil, fmt.Errorf("pin the region's keys: %w", err)
			}
		}
		h.clear(RegionKeysChanged)
	}
	return list, answeredMove(err)
}

// pin makes keys durable. If that fails, the next call meets the region for the first time again.
func (c *moveCloud) pin(cloud string, keys []ed25519.PublicKey) error {
	err := c.pins.store(cloud, keys, c.daemon.Clock.Now())
	if err != nil {
		c.mu.Lock()
		c.moves = nil
		c.mu.Unlock()
	}
	return err
}
