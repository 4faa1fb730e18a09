package daemon

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// ConfigRefused is the degradation while the file on disk is not what is in force.
const ConfigRefused mfpgate.Reason = "config-refused"

// reload puts the file's present text in force, whole or not at all. Tunnels are not touched.
func (d *Daemon) reload() {
	d.notify("RELOADING=1\nMONOTONIC_USEC=" + strconv.FormatInt(monotonicMicroseconds(), 10))
	defer d.notify("READY=1")
	next, err := config.Load(d.ConfigFile, d.lookups())
	var changed []string
	if err == nil {
		changed, err = d.apply(next)
	}
	d.loaded(false, err)
	if err == nil {
		d.log.Info().Str(field.File, d.ConfigFile).Strs(field.Keys, changed).Msg(event.ConfigReloaded)
	}
}

// apply puts next in force and names what changed, or changes nothing.
func (d *Daemon) apply(next *config.Config) (changed []string, err error) {
	changes := config.Diff(d.config.Load(), next)
	if fixed := changes.Restart(); len(fixed) > 0 {
		return nil, fmt.Errorf("%s changed, which needs a restart; restart, or put the old text back", strings.Join(fixed, ", "))
	}
	policy, err := relayPolicy(next)
	if err != nil {
		return nil, err
	}
	table, err := quirks(next)
	if err != nil {
		return nil, err
	}
	registering, err := d.registration.prepare(next)
	if err == nil {
		err = d.registration.fits(registering)
	}
	if err != nil {
		return nil, err
	}
	if d.cert != nil {
		if err := d.cert.Reload(); err != nil {
			return nil, err
		}
	}
	if err := d.level.Set(next.Log.Level); err != nil {
		return nil, err
	}
	policy.Capacity = d.contracts.capacity(policy.Capacity)
	policy.Planned = d.schedule.planned
	d.config.Store(next)
	d.registry.Configure(devicePolicy(next))
	d.relay.Apply(policy)
	d.accounts.Store(policy.Accounts)
	d.contracts.wake()
	d.sources.reload()
	d.printers.reload(table)
	d.inventory.reload()
	d.schedule.wake()
	d.registration.apply(registering)
	d.moves.reload(next)
	return changes.Keys(), nil
}

// loaded records how a load ended.
func (d *Daemon) loaded(first bool, err error) {
	if err != nil {
		d.metrics.ConfigReloadSuccess.Set(0)
		d.health.set(ConfigRefused, "the configuration in force is older than the file: "+err.Error())
		for _, e := range lines(err) {
			d.log.Error().Str(field.File, d.ConfigFile).Str(field.Error, e).Msg(event.ConfigRefused)
		}
		return
	}
	d.metrics.ConfigReloadSuccess.Set(1)
	d.metrics.ConfigReloadTime.Set(float64(d.Clock.Now().Unix()))
	d.health.configLoaded(d.Clock.Now())
	if !first {
		d.health.clear(ConfigRefused)
	}
}

// lines gives each error of a configuration its own event.
func lines(err error) []string {
	if all, ok := errors.AsType[config.Errors](err); ok {
		return strings.Split(strings.TrimSpace(all.Error()), "\n")
	}
	return []string{err.Error()}
}
