package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/client"
	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry/event"
)

// CloudAway is the degradation while the gateway's own cloud does not answer; the last contract stays in force.
const CloudAway mfpgate.Reason = "cloud-away"

// CloudRefused is the degradation while the cloud answers and does not accept the gateway's token.
const CloudRefused mfpgate.Reason = "cloud-refused"

// contracts keeps the customer's contract: what the cloud said last, across restarts.
type contracts struct {
	daemon *Daemon
	now    atomic.Pointer[keptContract]
	asked  chan struct{} // capacity 1: the configuration may name another cloud
	limits limits
}

// keptContract is stored under "contract".
type keptContract struct {
	Schema   int          `json:"schema"`
	Cloud    string       `json:"cloud"` // whose it is: URL and gateway id
	ETag     string       `json:"etag"`
	Contract api.Contract `json:"contract"`
}

const (
	contractKey    = "contract"
	contractSchema = 1
	contractEvery  = 5 * time.Minute
	contractRetry  = 30 * time.Second
)

func newContracts(ctx context.Context, d *Daemon) (*contracts, error) {
	c := &contracts{daemon: d, asked: make(chan struct{}, 1)}
	var kept keptContract
	err := d.local.View(ctx, func(s store.Snapshot) error { return store.GetJSON(s, contractKey, &kept) })
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return nil, fmt.Errorf("load the contract: %w", err)
	default:
		c.now.Store(&kept)
	}
	return c, nil
}

// of returns the contract that this cloud gave, or nil.
func (c *contracts) of(cloud config.Cloud) *keptContract {
	kept := c.now.Load()
	if kept == nil || cloud.URL == nil || kept.Cloud != cloudName(cloud) {
		return nil
	}
	return kept
}

func cloudName(c config.Cloud) string { return c.URL.String() + " " + c.GatewayID }

// wake makes run ask now.
func (c *contracts) wake() {
	select {
	case c.asked <- struct{}{}:
	default:
	}
}

// run asks the cloud for the contract until ctx ends. It does nothing while the configuration names no cloud.
func (c *contracts) run(ctx context.Context) error {
	for {
		pause := contractEvery
		if cloud := c.daemon.config.Load().Cloud; cloud.URL == nil {
			c.daemon.health.clear(CloudAway)
			c.daemon.health.clear(CloudRefused)
		} else if err := c.ask(ctx, cloud); err != nil && ctx.Err() == nil {
			pause = contractRetry
			c.failed(cloud, err)
		}
		timer := c.daemon.Clock.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-c.asked:
			timer.Stop()
		case <-timer.C():
		}
	}
}

// failed says why there is no contract now.
func (c *contracts) failed(cloud config.Cloud, err error) {
	d := c.daemon
	d.metrics.CloudUp.WithLabelValues("contract").Set(0)
	d.log.Warn().Err(err).Msg(event.CloudUnreachable)
	if tokenRefused(err) {
		d.health.clear(CloudAway)
		d.health.set(CloudRefused, fmt.Sprintf("%s does not accept the token of gateway %s; put a valid one where cloud.token says and reload. "+
			"Reports are kept until then: %v", cloud.URL.Host, cloud.GatewayID, err))
		return
	}
	d.health.clear(CloudRefused)
	d.health.set(CloudAway, "the cloud does not give the contract, the last one stays in force: "+err.Error())
}

// tokenRefused reports whether the cloud knows the gateway's token no more, or knows it as another's.
func tokenRefused(err error) bool {
	code := status(err)
	return code == http.StatusUnauthorized || code == http.StatusForbidden
}

func (c *contracts) ask(ctx context.Context, cloud config.Cloud) error {
	call, err := c.daemon.call(cloud)
	if err != nil {
		return err
	}
	known := ""
	if kept := c.of(cloud); kept != nil {
		known = kept.ETag
	}
	contract, etag, err := call.Contract(ctx, known)
	if err == nil {
		next := &keptContract{Schema: contractSchema, Cloud: cloudName(cloud), ETag: etag, Contract: contract}
		err = c.daemon.local.Update(ctx, func(tx store.Tx) error { return store.SetJSON(tx, contractKey, next) })
		if err == nil {
			c.now.Store(next)
			c.daemon.relay.Refresh()
			c.daemon.schedule.wake()
		}
	} else if errors.Is(err, client.ErrNotModified) {
		err = nil
	}
	if err == nil {
		c.daemon.metrics.CloudUp.WithLabelValues("contract").Set(1)
		c.daemon.health.clear(CloudAway)
		c.daemon.health.clear(CloudRefused)
	}
	return err
}
