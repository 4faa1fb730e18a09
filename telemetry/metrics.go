package telemetry

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Counter, Gauge and Observer are what the rooms need of Prometheus' types.
type (
	Counter      = prometheus.Counter
	CounterVec   = prometheus.CounterVec
	Gauge        = prometheus.Gauge
	GaugeVec     = prometheus.GaugeVec
	HistogramVec = prometheus.HistogramVec
	Observer     = prometheus.Observer
)

// Metrics is every metric of the gateway. No label carries a device, a host or a user: those are in the log and the API.
type Metrics struct {
	registry *prometheus.Registry

	BuildInfo           *GaugeVec // version, revision, go_version
	ConfigReloadSuccess Gauge
	ConfigReloadTime    Gauge

	RelayDevices           *GaugeVec   // state: served, queued
	RelayCapacity          Gauge       // devices, in force now
	RelayTunnelLimit       Gauge       // tunnels, from RLIMIT_NOFILE
	RelayTunnels           Gauge       // open now
	RelayTunnelsTotal      *CounterVec // outcome: a reason, or closed
	RelayTunnelDuration    Observer
	RelayRequestsTotal     *CounterVec // plain HTTP; outcome
	RelayRefusals          *CounterVec // reason
	RelayBytes             *CounterVec // direction: up, down; path: splice, copy
	RelayDialErrors        *CounterVec // reason
	RelayQueueWait         Observer
	RelayQueueTurns        Counter     // turns given from the queue
	RelayQueuePlannedTurns Counter     // of these, before one that had waited longer, for the device was in its planned slot
	RelayTransfers         *CounterVec // kind: delivery, unclassified

	Devices          *GaugeVec   // attachment, state
	DiscoveryQueries *CounterVec // protocol: dns-sd, snmp, ipp
	DiscoveryPolls   *CounterVec // outcome: answered, or a reason

	USBPrinters       *GaugeVec   // mode: ipp-usb, raw, other, unused
	USBJobs           *CounterVec // mode; outcome: completed, canceled, aborted
	USBBytes          *CounterVec // mode; direction: out, to the printer; in, from it
	USBResets         Counter
	USBTransferErrors *CounterVec // kind: gone, access, busy, stalled, overflow, no-memory, failed, timeout

	ReportsSent    *CounterVec // queue: telemetry, alerts
	ReportsWaiting *GaugeVec   // queue
	ReportsDropped *GaugeVec   // queue

	StoreFreeBytes Gauge
	StoreRecovered Counter
	StoreWrites    *CounterVec // outcome: committed, conflicted, refused, failed

	CloudUp *GaugeVec // service

	SchedulerRuns        *CounterVec // outcome: planned, idle, failed, refused, stopped
	SchedulerRunDuration Observer
	SchedulerSuccess     Gauge
	SchedulerSkipped     Counter
	SchedulerDeliveries  Gauge
	SchedulerLeftOut     Gauge
	SchedulerBands       *GaugeVec   // certainty: certain, risk
	SchedulerPlanned     Gauge       // devices in their slot now
	SchedulerProposals   *CounterVec // state: handed, stale, refused, withdrawn
	SchedulerChanges     *CounterVec // state: applied, rejected, conflict, expired
	SchedulerRefused     *CounterVec // of: answer, report, proposal

	RegistrationState       *GaugeVec   // state
	RegistrationAttempts    *CounterVec // result: approved, denied, expired, unsent, lost, refused
	RegistrationApproveTime Observer
	RegistrationPolls       *CounterVec // code: granted, pending, slow_down, expired, denied, invalid_grant, refused, unreached
	RegistrationMails       *CounterVec // result: sent, delayed, refused, digested
	RegistrationOldestOpen  Gauge

	MoveState       *GaugeVec     // state
	MoveStepTime    *HistogramVec // step
	MoveOldestOpen  Gauge
	MoveSwitchAge   Gauge
	MoveUnenforced  Gauge
	RegionBlocks    *CounterVec // region
	RouteMismatches Counter
}

// NewMetrics registers every metric, and the process's and the runtime's own, on a registry of its own.
func NewMetrics() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	m.BuildInfo = m.gaugeVec("mfpgate_build_info", "Constant 1, labelled with what is running.", "version", "revision", "go_version")
	m.ConfigReloadSuccess = m.gauge("mfpgate_config_last_reload_success", "1 if the last load of the configuration was good, else 0.")
	m.ConfigReloadTime = m.gauge("mfpgate_config_last_reload_success_timestamp_seconds", "When the configuration in force was loaded.")

	m.RelayDevices = m.gaugeVec("mfpgate_relay_devices", "Devices that hold a slot (served) or wait for one (queued).", "state")
	m.RelayCapacity = m.gauge("mfpgate_relay_capacity_devices", "Devices that the relay may serve at once now.")
	m.RelayTunnelLimit = m.gauge("mfpgate_relay_connections_limit", "Client connections that the descriptor limit allows.")
	m.RelayTunnels = m.gauge("mfpgate_relay_tunnels", "Tunnels open now.")
	m.RelayTunnelsTotal = m.counterVec("mfpgate_relay_tunnels_total", "Tunnels that ended, by outcome.", "outcome")
	m.RelayTunnelDuration = m.histogram("mfpgate_relay_tunnel_duration_seconds", "Life of a tunnel, from 200 to its end.",
		[]float64{.1, 1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600})
	m.RelayRequestsTotal = m.counterVec("mfpgate_relay_requests_total", "Plain HTTP requests that ended, by outcome.", "outcome")
	m.RelayRefusals = m.counterVec("mfpgate_relay_refusals_total", "Requests and tunnels that were refused, by reason.", "reason")
	m.RelayBytes = m.counterVec("mfpgate_relay_bytes_total",
		"Bytes relayed, up from devices and down to them, kernel to kernel (splice) or through memory (copy).", "direction", "path")
	m.RelayDialErrors = m.counterVec("mfpgate_relay_dial_errors_total", "Connections to origins or to the upstream proxy that failed, by reason.", "reason")
	m.RelayQueueWait = m.histogram("mfpgate_relay_queue_wait_seconds", "Time that a device waited for its slot.",
		[]float64{.01, .1, 1, 5, 15, 30, 60})
	m.RelayQueueTurns = m.counter("mfpgate_relay_queue_turns_total", "Slots given to a device that had waited in the queue.")
	m.RelayQueuePlannedTurns = m.counter("mfpgate_relay_queue_planned_turns_total",
		"Slots given to a device in its planned slot before another that had waited longer.")
	m.RelayTransfers = m.counterVec("mfpgate_relay_transfers_total", "Tunnels and requests that brought a device bytes, by kind.", "kind")

	m.Devices = m.gaugeVec("mfpgate_devices", "Devices that the gateway knows.", "attachment", "state")

	m.DiscoveryQueries = m.counterVec("mfpgate_discovery_queries_total", "Questions sent to find devices and to ask them.", "protocol")
	m.DiscoveryPolls = m.counterVec("mfpgate_discovery_polls_total", "Devices asked how they are, by outcome.", "outcome")

	m.USBPrinters = m.gaugeVec("mfpgate_usb_printers", "Printers that are plugged into the gateway's USB, by how it drives them.", "mode")
	m.USBJobs = m.counterVec("mfpgate_usb_jobs_total", "Documents that the gateway sent to printers on USB, by what became of them.", "mode", "outcome")
	m.USBBytes = m.counterVec("mfpgate_usb_bytes_total", "Bytes to printers on USB (out) and from them (in).", "mode", "direction")
	m.USBResets = m.counter("mfpgate_usb_resets_total", "Resets of printers on USB, soft or of the port, that the gateway made.")
	m.USBTransferErrors = m.counterVec("mfpgate_usb_transfer_errors_total", "USB transfers that failed, by kind.", "kind")

	m.ReportsSent = m.counterVec("mfpgate_reports_sent_total", "Reports that the cloud has taken, by queue.", "queue")
	m.ReportsWaiting = m.gaugeVec("mfpgate_reports_waiting", "Reports that wait on disk for the cloud, by queue.", "queue")
	m.ReportsDropped = m.gaugeVec("mfpgate_reports_dropped", "Reports that were dropped since the state directory was made, because too many waited, by queue.", "queue")

	m.StoreFreeBytes = m.gauge("mfpgate_store_free_bytes", "Free bytes on the file system of the store.")
	m.StoreRecovered = m.counter("mfpgate_store_recovered_total", "Times that a damaged store was set aside at start.")
	m.StoreWrites = m.counterVec("mfpgate_store_writes_total", "Transactions that wrote, by outcome.", "outcome")

	m.CloudUp = m.gaugeVec("mfpgate_cloud_up", "1 if the last call to the cloud's service was answered, else 0.", "service")

	m.SchedulerRuns = m.counterVec("mfpgate_scheduler_runs_total", "Runs that fetched and planned delivery schedules, by outcome.", "outcome")
	m.SchedulerRunDuration = m.histogram("mfpgate_scheduler_run_duration_seconds", "Time that such a run took.",
		[]float64{.01, .1, .5, 1, 2, 5, 15, 60, 300})
	m.SchedulerSuccess = m.gauge("mfpgate_scheduler_last_success_timestamp_seconds", "When the last run began that made a plan.")
	m.SchedulerSkipped = m.counter("mfpgate_scheduler_skipped_runs_total", "Runs that were due while the one before had not ended.")
	m.SchedulerDeliveries = m.gauge("mfpgate_scheduler_deliveries", "Deliveries in the present plan.")
	m.SchedulerLeftOut = m.gauge("mfpgate_scheduler_left_out", "Deliveries and devices that the present plan does not count.")
	m.SchedulerBands = m.gaugeVec("mfpgate_scheduler_overload_bands", "Overloads in the present plan, by certainty.", "certainty")
	m.SchedulerPlanned = m.gauge("mfpgate_relay_planned_devices", "Devices whose planned slot is now, whether they are served or not.")
	m.SchedulerProposals = m.counterVec("mfpgate_scheduler_proposals_total", "Proposals of new starts, by what became of handing them over.", "state")
	m.SchedulerChanges = m.counterVec("mfpgate_scheduler_changes_total", "New starts of proposals that were decided, by state.", "state")
	m.SchedulerRefused = m.counterVec("mfpgate_scheduler_refusals_total",
		"Answers of the delivery system that were refused (answer), and reports and proposals that it refused.", "of")

	m.RegistrationState = m.gaugeVec("mfpgate_registration_state", "Registrations in print services that the gateway keeps, by state.", "state")
	m.RegistrationAttempts = m.counterVec("mfpgate_registration_attempts_total", "Codes that administrators were asked with, by what became of them.", "result")
	m.RegistrationApproveTime = m.histogram("mfpgate_registration_time_to_approve_seconds", "From a user's request to the administrator's approval.",
		[]float64{10, 60, 300, 900, 3600, 4 * 3600, 24 * 3600})
	m.RegistrationPolls = m.counterVec("mfpgate_registration_polls_total", "Questions to print services whether a code was approved, by answer.", "code")
	m.RegistrationMails = m.counterVec("mfpgate_registration_mails_total", "Letters of registrations, by what became of them.", "result")
	m.RegistrationOldestOpen = m.gauge("mfpgate_registration_oldest_open_seconds", "Age of the oldest registration that has not ended; 0 if there is none.")

	m.MoveState = m.gaugeVec("mfpgate_move_state", "Moves between regions that the gateway keeps, by state.", "state")
	m.MoveStepTime = m.histogramVec("mfpgate_move_step_seconds", "From the end of one step of a move to the end of the next.",
		[]float64{.1, 1, 10, 60, 600, 3600, 24 * 3600, 30 * 24 * 3600}, "step")
	m.MoveOldestOpen = m.gauge("mfpgate_move_open_age_seconds", "Age of the oldest move that has not ended; 0 if there is none.")
	m.MoveSwitchAge = m.gauge("mfpgate_move_switch_age_seconds", "Age of the oldest commit of a move whose switch the region has not acknowledged; 0 if there is none.")
	m.MoveUnenforced = m.gauge("mfpgate_region_unenforced_devices", "Devices of a changed region whose connections do not come through the relay.")
	m.RegionBlocks = m.counterVec("mfpgate_region_blocks_total", "Connections that were refused because their host belongs to another region than the device, by that region.", "region")
	m.RouteMismatches = m.counter("mfpgate_route_mismatches_total", "Connections to a host of a region that is not the device's, whatever became of them.")
	return m
}

// Handler serves the metrics in Prometheus' text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// Value reads one metric's current value by name and label pairs, which is what tests compare with. It returns 0 for
// a series that does not exist.
func (m *Metrics) Value(name string, labels ...string) float64 {
	families, err := m.registry.Gather()
	if err != nil {
		return 0
	}
	want := map[string]string{}
	for i := 0; i+1 < len(labels); i += 2 {
		want[labels[i]] = labels[i+1]
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	series:
		for _, s := range f.GetMetric() {
			for _, l := range s.GetLabel() {
				if v, ok := want[l.GetName()]; ok && v != l.GetValue() {
					continue series
				}
			}
			return s.GetGauge().GetValue() + s.GetCounter().GetValue()
		}
	}
	return 0
}

func (m *Metrics) gauge(name, help string) Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	m.registry.MustRegister(g)
	return g
}

func (m *Metrics) gaugeVec(name, help string, labels ...string) *GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(g)
	return g
}

func (m *Metrics) counter(name, help string) Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) counterVec(name, help string, labels ...string) *CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) histogramVec(name, help string, buckets []float64, labels ...string) *HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(h)
	return h
}

func (m *Metrics) histogram(name, help string, buckets []float64) Observer {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	m.registry.MustRegister(h)
	return h
}
