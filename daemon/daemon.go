package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/daemon/portal"
	"github.com/mfpgate/mfpgate/discovery"
	"github.com/mfpgate/mfpgate/discovery/report"
	"github.com/mfpgate/mfpgate/proxy"
	"github.com/mfpgate/mfpgate/proxy/account"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/badger"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/delivery"
)

// Options are what a daemon gets from its process; tests give their own.
type Options struct {
	ConfigFile string
	Clock      mfpgate.Clock
	Output     io.Writer                 // of the log
	Getenv     func(string) string       // for what systemd passes: NOTIFY_SOCKET, LISTEN_FDS, RUNTIME_DIRECTORY…
	Signals    <-chan os.Signal          // SIGHUP reloads; SIGTERM and SIGINT stop, and cut the drain at the second
	Build      Build                     // shown in the status
	Ready      func(addresses Listening) // called once when everything listens; may be nil
	USB        func() (bus.Bus, error)   // opens a USB in place of the machine's; nil: the machine's
}

// Build says what is running.
type Build struct{ Version, Revision, GoVersion string }

// Listening is where the daemon can be reached.
type Listening struct {
	Relay   []net.Addr
	Portal  net.Addr // nil: off
	Metrics net.Addr // nil: off
	Control string   // the unix socket
}

// Daemon is one gateway. See New and Run.
type Daemon struct {
	Options
	config       atomic.Pointer[config.Config]
	level        telemetry.Level
	log          telemetry.Logger
	metrics      *telemetry.Metrics
	db           *badger.DB
	local        store.Store
	shared       store.Store
	registry     *discovery.Registry
	relay        *proxy.Relay
	accounts     atomic.Pointer[account.File] // of devices, for those who come to another door than the relay's; nil: none
	contracts    *contracts
	clouds       clouds
	sources      *sources
	printers     *printers
	deliveries   *delivery.Deliveries // of software, to printers on USB
	reporter     *report.Reporter
	upload       *upload
	inventory    *inventory
	hawkbit      *hawkbitSystem // nil: the cloud plans the deliveries
	health       *health
	schedule     *schedule
	registration *registration
	moves        *moves
	history      *history
	portal       *portal.Portal      // nil: off
	cert         *portal.Certificate // what the portal shows
	started      time.Time
	stopping     atomic.Bool
	where        Listening
}

// New loads the configuration and opens the state. Whoever gets a Daemon must Run it, which closes it.
func New(ctx context.Context, o Options) (_ *Daemon, err error) {
	d := &Daemon{Options: o, metrics: telemetry.NewMetrics(), started: o.Clock.Now()}
	cfg, err := config.Load(o.ConfigFile, d.lookups())
	if err != nil {
		return nil, err
	}
	if err := d.level.Set(cfg.Log.Level); err != nil {
		return nil, err
	}
	d.log = telemetry.NewLogger(o.Output, o.Clock, &d.level, o.Getenv("JOURNAL_STREAM") != "")
	d.config.Store(cfg)
	d.health = newHealth(d)
	d.metrics.BuildInfo.WithLabelValues(o.Build.Version, o.Build.Revision, o.Build.GoVersion).Set(1)
	policy, err := relayPolicy(cfg)
	if err != nil {
		return nil, err
	}
	d.accounts.Store(policy.Accounts)
	if d.printers, err = newPrinters(d, cfg); err != nil {
		return nil, err
	}
	if err := d.openStore(ctx, cfg); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.db.Close())
		}
	}()
	if d.contracts, err = newContracts(ctx, d); err != nil {
		return nil, err
	}
	policy.Capacity = d.contracts.capacity(policy.Capacity)
	d.registry, err = discovery.New(ctx, discovery.Options{Clock: o.Clock, Log: d.log, Metrics: d.metrics,
		Store: d.local, USB: d.printers.plugged()}, devicePolicy(cfg))
	if err != nil {
		return nil, err
	}
	if d.upload, err = newUpload(ctx, d, uploadBounds); err != nil {
		return nil, err
	}
	d.sources = newSources(d)
	d.inventory = newInventory(d)
	d.reporter = report.New(report.Options{Clock: o.Clock, Store: d.local, Telemetry: d.upload.telemetry, Alerts: d.upload.alerts,
		Heartbeat: d.sources.heartbeat, Failed: func(err error) { d.log.Warn().Err(err).Msg(event.DiscoveryNoise) }})
	if d.hawkbit, err = newHawkbit(d, cfg); err != nil {
		return nil, err
	}
	if d.schedule, err = newSchedule(ctx, d); err != nil {
		return nil, err
	}
	policy.Planned = d.schedule.planned
	// All routes are in force before the relay can let anything pass.
	if d.moves, err = newMoves(ctx, d); err != nil {
		return nil, err
	}
	if d.registration, err = newRegistration(ctx, d); err != nil {
		return nil, err
	}
	limit, err := raiseDescriptorLimit()
	if err != nil {
		return nil, err
	}
	d.relay, err = proxy.New(proxy.Options{Name: "mfpgate-" + cfg.Site.Name, Clock: o.Clock, Log: d.log, Metrics: d.metrics,
		Devices: d.registry, Descriptors: limit, Transferred: d.schedule.transfers.ended,
		Routes: d.moves, Reached: d.moves.Reached, Blocked: d.moves.Blocked, OffLimits: d.printers.served}, policy)
	if err != nil {
		return nil, err
	}
	d.moves.SetTunnels(d.relay)
	if d.deliveries, err = newDeliveries(d, d.printers); err != nil {
		return nil, err
	}
	d.history = newHistory(d)
	d.loaded(true, nil)
	return d, nil
}

// Run serves until a signal or a fatal error, and then stops everything in order. It returns nil after a signal.
func (d *Daemon) Run(ctx context.Context) (err error) {
	sockets, err := d.listen()
	if err != nil {
		return errors.Join(err, d.db.Close())
	}
	d.where = sockets.where()

	// The rooms outlive the doors: what a door has let in still needs them.
	rooms, endRooms := context.WithCancel(context.WithoutCancel(ctx))
	defer endRooms()
	inside, rooms := errgroup.WithContext(rooms)
	inside.Go(func() error { return d.relay.Run(rooms) })
	inside.Go(func() error { return d.registry.Run(rooms) })
	inside.Go(func() error { return d.reporter.Run(rooms) })

	jobs, endJobs := context.WithCancel(rooms)
	defer endJobs()
	doors, failed := errgroup.WithContext(rooms)
	doors.Go(func() error { return d.relay.Serve(sockets.relay) })
	for _, page := range d.pages(sockets) {
		doors.Go(page.serve)
	}
	work := newJobs(d)
	work.start(jobs, "history", d.history.run)
	work.start(jobs, "health", d.health.run)
	work.start(jobs, "maintenance", d.maintain)
	work.start(jobs, "contract", d.contracts.run)
	work.start(jobs, "discovery", d.sources.run)
	printing := []<-chan struct{}{work.startAside(jobs, "usb", d.printers.run), work.startAside(jobs, "usb deliveries", d.deliveries.Run)}
	work.start(jobs, "reports", d.upload.run)
	work.start(jobs, "inventory", d.inventory.run)
	work.start(jobs, "schedule", d.schedule.run)
	work.start(jobs, "registrations", d.registration.run)
	work.start(jobs, "moves", d.moves.run)
	if d.hawkbit != nil {
		work.start(jobs, "hawkbit", d.hawkbit.Run)
	}

	d.log.Info().Str(field.Version, d.Build.Version).Str(field.File, d.ConfigFile).
		Strs(field.Listen, addresses(d.where.Relay)).Msg(event.DaemonStarted)
	for _, key := range switchedOff(d.config.Load()) {
		d.log.Info().Str(field.Key, key).Msg(event.ConfigOff)
	}
	d.notify("READY=1")
	work.start(jobs, "watchdog", d.watchdog)
	if d.Ready != nil {
		d.Ready(d.where)
	}
	cause := d.wait(ctx, failed.Done())

	d.stopping.Store(true)
	d.notifyStopping()
	d.log.Info().Str(field.Signal, cause).Msg(event.DaemonStopping)
	endJobs()
	work.wait.Wait()
	d.drain(printing)
	sockets.closePages()
	err = doors.Wait()
	endRooms()
	err = errors.Join(err, inside.Wait(), d.db.Close())
	d.clouds.close()
	d.log.Info().AnErr(field.Error, err).Msg(event.DaemonStopped)
	return err
}

// wait returns when the daemon is to stop, and why. It reloads meanwhile.
func (d *Daemon) wait(ctx context.Context, failed <-chan struct{}) string {
	for {
		select {
		case <-ctx.Done():
			return "context"
		case <-failed:
			return "failure"
		case s := <-d.Signals:
			if s != syscall.SIGHUP {
				return s.String()
			}
			d.reload()
		}
	}
}

// giveBack is how long printers on USB may take to be given back.
const giveBack = 5 * time.Second

// drain lets the relay finish, and printers on USB; a second signal or the budget ends that.
func (d *Daemon) drain(printing []<-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	budget := d.Clock.NewTimer(d.config.Load().Relay.Timeouts.Drain)
	defer budget.Stop()
	done := make(chan struct{})
	go func() { // ends with the drain, which the deferred cancel ends at the latest
		defer close(done)
		for {
			select {
			case s := <-d.Signals:
				if s == syscall.SIGHUP {
					continue
				}
				d.log.Info().Str(field.Signal, s.String()).Msg(event.DaemonStopping)
			case <-budget.C():
			case <-ctx.Done():
			}
			cancel()
			return
		}
	}()
	cut := d.relay.Drain(ctx)
	// Once the budget is over they have had the same, and give their interfaces back now. One that does not in time is left to the kernel.
	late := make(chan struct{})
	waiting, given := context.WithCancel(context.Background())
	over := context.AfterFunc(ctx, func() { defer close(late); _ = mfpgate.Wait(waiting, d.Clock, giveBack) })
	for _, ended := range printing {
		select {
		case <-ended:
		case <-late:
		}
	}
	over()
	given()
	cancel()
	<-done
	d.log.Info().Int(field.Count, cut).Msg(event.RelayDrained)
}

// openStore opens the durable facts and gives each side its own.
func (d *Daemon) openStore(ctx context.Context, cfg *config.Config) error {
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	db, err := badger.Open(ctx, badger.Options{Dir: filepath.Join(cfg.StateDir, "store"), Clock: d.Clock, Log: d.storeRemark,
		Observe: func(o store.Outcome) { d.metrics.StoreWrites.WithLabelValues(string(o)).Inc() }})
	if err != nil {
		return err
	}
	d.db = db
	d.local, d.shared = store.Prefix(db, "local/"), store.Prefix(db, "shared/")
	if r := db.Recovered(); r != nil {
		if !r.At.Before(d.started) { // the record of an earlier start stays until somebody has acknowledged it
			d.metrics.StoreRecovered.Inc()
		}
		d.health.set(StoreRecovered, r.String())
		d.log.Error().Str(field.Text, r.String()).Msg(event.StoreRecovered)
	}
	return nil
}

// storeRemark passes on what the store says, which is Badger's own talk below warnings.
func (d *Daemon) storeRemark(level slog.Level, text string) {
	e := d.log.Debug()
	if level >= slog.LevelWarn {
		e = d.log.Warn()
	}
	e.Str(field.Text, text).Msg(event.StoreNoise)
}

// raiseDescriptorLimit lifts the soft limit to the hard one and returns it: tunnels are bounded by it.
func raiseDescriptorLimit() (int, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("read RLIMIT_NOFILE: %w", err)
	}
	if l.Cur < l.Max {
		l.Cur = l.Max
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
			return 0, fmt.Errorf("raise RLIMIT_NOFILE to %d: %w", l.Max, err)
		}
	}
	return int(min(l.Cur, 1<<20)), nil
}

func addresses(list []net.Addr) []string {
	text := make([]string, 0, len(list))
	for _, a := range list {
		text = append(text, a.String())
	}
	return text
}
