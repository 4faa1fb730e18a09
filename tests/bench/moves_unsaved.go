package main

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
	regionpeer "github.com/mfpgate/mfpgate/cloud/client/peer"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/tests/regions"
)

// unsaved is the peer of the saga: a loop in memory that makes the calls of a move, to the same regions over the same wire with the
// credentials of jp's management server, as many moves at once, and keeps nothing. A crash of it would leave devices between regions.
const unsaved = "unsaved"

// unsavedHerd are the devices that it moves. The gateway knows none of them.
func (r *meadow) unsavedHerd() *herd {
	of := herds(r.w)[0]
	of.kind, of.count, of.ippPort, of.first = unsaved, max(r.devices/10, 20), 27550, mustAddr(movesNetwork+".128.1")
	return of
}

// unsavedCost is what it reaches.
type unsavedCost struct {
	perSecond float64
	cpu       map[string]time.Duration // of a move, by whom
}

// moveUnsaved moves a herd of its own.
func (r *meadow) moveUnsaved(ctx context.Context, trust, relay string) (c unsavedCost, err error) {
	h := r.unsavedHerd()
	if err := r.release(h, trust, relay, 28550); err != nil {
		return c, err
	}
	defer h.kill()
	enough := func(event string, n int) func() (bool, error) {
		return func() (bool, error) { h.mu.Lock(); defer h.mu.Unlock(); return h.events[event] >= n, nil }
	}
	if err := r.until(ctx, "the unsaved mover's devices are registered", time.Second, enough("registered", h.count)); err != nil {
		return c, err
	}
	if err := r.until(ctx, "they have data of all classes", time.Second, enough("stored", movesClasses*h.count)); err != nil {
		return c, err
	}
	m, err := r.mover()
	if err != nil {
		return c, err
	}
	defer m.close()
	before, err := r.spent()
	if err != nil {
		return c, err
	}
	began := r.clock.Now()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(movesAsked)
	for n := range h.count {
		g.Go(func() error { return m.move(gctx, fmt.Sprintf("%s-%d", unsaved, n+1)) })
	}
	if err := g.Wait(); err != nil {
		return c, err
	}
	c.perSecond = float64(h.count) / r.clock.Now().Sub(began).Seconds()
	c.cpu, err = r.spent()
	for name := range c.cpu {
		c.cpu[name] = (c.cpu[name] - before[name]) / time.Duration(h.count)
	}
	return c, err
}

// spent is the CPU time of what is watched.
func (r *meadow) spent() (map[string]time.Duration, error) {
	all := map[string]time.Duration{}
	for name, p := range r.watched {
		used, err := p.cpu()
		if err != nil {
			return nil, err
		}
		all[name] = used
	}
	return all, nil
}

// mover calls both regions as jp's management server does.
type mover struct {
	clock  mfpgate.Clock
	us, jp *regionpeer.Peer
}

func (r *meadow) mover() (*mover, error) {
	folder, err := provision.Open(r.w.JP.State, r.clock)
	if err != nil {
		return nil, err
	}
	own, err := folder.OwnToken("jp")
	if err != nil {
		return nil, err
	}
	peers, err := folder.Peers()
	if err != nil || len(peers) != 1 {
		return nil, fmt.Errorf("jp has %d peers: %w", len(peers), err)
	}
	m := &mover{clock: r.clock}
	if m.us, err = dialRegion(r.clock, r.w.US, peers[0].Management); err != nil {
		return nil, err
	}
	m.jp, err = dialRegion(r.clock, r.w.JP, own)
	return m, err
}

func dialRegion(clock mfpgate.Clock, to *regions.Region, token mfpgate.Secret) (*regionpeer.Peer, error) {
	certificate, err := os.ReadFile(to.Certificate)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(to.Key)
	if err != nil {
		return nil, err
	}
	key, err := jws.ParseKey(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	return regionpeer.Open(regionpeer.Options{Region: to.Name, ManagementURL: to.URL, ServicesURL: to.ServicesURL(), ManagementToken: token, Keys: []ed25519.PublicKey{key}, RootCAs: roots, Clock: clock})
}

func (m *mover) close() {
	m.us.Close()
	m.jp.Close()
}

// move makes the calls of a move up to the source's purge, in their order.
func (m *mover) move(ctx context.Context, mfp string) error {
	id := mfpgate.NewID(m.clock, "mov")
	o := mfpgate.MoveOrder{Move: mfpgate.MoveID(id), Epoch: 2, MFP: mfp, From: "us", To: "jp", Registration: "r1.jp.2." + strings.TrimPrefix(id, "mov_") + ".0000000000000000",
		Data: map[string]mfpgate.DataPolicy{"": mfpgate.DataMove}, Seen: mfpgate.Seen{}}
	source, target := m.us.Services(), m.jp.Services()
	manager := m.us.Management()
	held, err := source.Holding(ctx, mfp)
	if err != nil {
		return err
	}
	for _, d := range held.Data {
		o.Data[d.Class] = mfpgate.DataMove
	}
	digest := ""
	for _, call := range []struct {
		step  mfpgate.MoveStep
		order func(context.Context, mfpgate.MoveOrder) (mfpgate.MoveAnswer, error)
	}{
		{mfpgate.StepUnlink, source.Order}, {mfpgate.StepCopy, manager.Order}, {mfpgate.StepCopy, source.Order}, {mfpgate.StepVerify, target.Order}, {mfpgate.StepDrain, source.Order},
		{mfpgate.StepDelta, manager.Order}, {mfpgate.StepDelta, source.Order}, {mfpgate.StepActivate, target.Order}, {mfpgate.StepNotify, manager.Order}, {mfpgate.StepRetire, source.Order},
	} {
		o.Step = call.step
		if o.Children = nil; o.Step == mfpgate.StepUnlink {
			o.Children = []string{"document-cloud/whiteboard"}
		}
		a, err := call.order(ctx, o)
		if err != nil {
			return fmt.Errorf("%s, step %s: %w", mfp, o.Step, err)
		}
		o.Seen = o.Seen.Merge(a.Seen)
		switch o.Step {
		case mfpgate.StepCopy, mfpgate.StepDelta:
			digest = a.Digest
		case mfpgate.StepVerify:
			if a.Digest != digest {
				return errors.New("the digests differ")
			}
		case mfpgate.StepActivate:
			if h, err := target.Holding(ctx, mfp); err != nil || h.State != mfpgate.HoldingActive {
				return fmt.Errorf("%s is %s: %w", mfp, h.State, err)
			}
		}
	}
	return nil
}
