// Package event names what the log reports: room.past-participle.
package event

// The events, by room.
const (
	DaemonStarted    = "daemon.started"
	DaemonStopping   = "daemon.stopping"
	DaemonStopped    = "daemon.stopped"
	DaemonDegraded   = "daemon.degraded"
	DaemonJobFailed  = "daemon.failed-job" // it is started again
	DaemonNoise      = "daemon.remarked"   // what net/http says of its connections
	ConfigReloaded   = "config.reloaded"
	ConfigRefused    = "config.refused"
	ConfigOff        = "config.switched-off"
	RelayServed      = "relay.served"    // the canonical event of a plain HTTP request
	RelayClosed      = "relay.closed"    // the canonical event of a tunnel
	RelayRefused     = "relay.refused"   // the canonical event of a request or tunnel that got nothing
	RelayConfirmed   = "relay.confirmed" // a transfer was a delivery: the delivery system says that it is done
	RelayDrained     = "relay.drained"
	RelayStarved     = "relay.starved" // accept failed for want of descriptors
	RelayNoise       = "relay.remarked"
	DeviceSighted    = "discovery.sighted"
	DeviceJoined     = "discovery.joined"   // two devices turned out to be one
	DeviceReplaced   = "discovery.replaced" // another device answers where one did
	DeviceChanged    = "discovery.changed"  // its state
	DeviceForgotten  = "discovery.forgotten"
	DeviceScanned    = "discovery.scanned"
	DiscoveryNoise   = "discovery.remarked"
	LinkJoined       = "discovery.joined" // an interface is asked on
	LinkLeft         = "discovery.left"
	LinkHindered     = "discovery.hindered" // an interface cannot be asked on, or listened to, for now
	StoreRecovered   = "store.recovered"
	StoreFilled      = "store.filled"
	StoreBackedUp    = "store.backed-up"
	StoreNoise       = "store.remarked"
	PortalLoggedIn   = "portal.logged-in"
	PortalRefused    = "portal.refused"
	PortalChanged    = "portal.changed"   // a user changed a device
	PortalCertified  = "portal.certified" // an own certificate was made, or could not be
	ControlRefused   = "control.refused"
	AgentReported    = "agent.reported" // a device that registers itself said how far it is, or how it ended
	AgentRefused     = "agent.refused"
	CloudServed      = "cloud.served"
	CloudRefused     = "cloud.refused"
	CloudUnreachable = "cloud.unreached"

	CloudRefusedDevice = "cloud.refused-device" // the region does not take what it is told of a device
	CloudRefusedReport = "cloud.refused-report" // a reading or an alert was left out
	CloudMissedReports = "cloud.missed-reports" // the oldest were dropped, because too many waited

	SchedulerRan      = "scheduler.ran"    // a run ended well
	SchedulerFailed   = "scheduler.failed" // a run did not; it is tried again
	SchedulerSkipped  = "scheduler.skipped"
	SchedulerReported = "scheduler.reported"
	SchedulerProposed = "scheduler.proposed"
	SchedulerDecided  = "scheduler.decided"  // what became of a proposal is known
	SchedulerRefused  = "scheduler.refused"  // the delivery system does not take a report or a proposal
	SchedulerUnsent   = "scheduler.unsent"   // one could not be sent; it is tried again
	SchedulerDeafened = "scheduler.deafened" // its events cannot be heard

	HawkbitMoved   = "hawkbit.moved"   // a step that matters: held, assigned, restored, kept, failed
	HawkbitUnmoved = "hawkbit.unmoved" // moves cannot go on for now; they are tried again

	ApprovalRequested  = "approval.requested"
	ApprovalAsked      = "approval.asked"    // a code was issued for the administrator, or the device does it all itself
	ApprovalApproved   = "approval.approved" // the service is entering the device, or allowing the user
	ApprovalRegistered = "approval.registered"
	ApprovalFailed     = "approval.failed"
	ApprovalCancelled  = "approval.cancelled"
	ApprovalUnreached  = "approval.unreached" // a print service, or the mail server; it is asked again
	ApprovalUnstored   = "approval.unstored"  // what came of a call could not be kept; it is made again

	MoveChanged    = "move.changed"    // a step or a state of a move
	MoveSwitched   = "move.switched"   // the device's routes lead to its new region
	MoveUnreached  = "move.unreached"  // a region, or the site's cloud; it is asked again
	MoveUnstored   = "move.unstored"   // what came of a call could not be kept; it is made again
	MoveSuggested  = "move.suggested"  // a device's home is another region than the site's
	MoveUnenforced = "move.unenforced" // the relay does not see a device whose region was changed

	DeliveryPlanned  = "delivery.planned" // the gateway is to bring software to a device
	DeliveryBegun    = "delivery.begun"
	DeliveryFetched  = "delivery.fetched"
	DeliverySending  = "delivery.sending"
	DeliveryEnded    = "delivery.ended"    // done, or failed with a reason
	DeliveryReported = "delivery.reported" // the delivery system knows it
	DeliveryWaiting  = "delivery.waiting"  // something did not go well; it is tried again
	DeliveryUnstored = "delivery.unstored" // what came of it could not be kept

	ResidencyBlocked = "residency.blocked" // a device may not reach a region

	USBAttached  = "usb.attached"
	USBDetached  = "usb.detached"
	USBUnread    = "usb.unread"     // the descriptors of a device that is plugged in cannot be read; it is passed over
	USBDriven    = "usb.driven"     // the mode of a printer is another now, or why it has none
	USBReset     = "usb.reset"      // a printer hung, and was reset
	USBSoftReset = "usb.soft-reset" // a printer dropped what it had not printed
	USBStalled   = "usb.stalled"    // an endpoint did; the transfer goes on
	USBHindered  = "usb.hindered"   // the bus cannot be looked at for now
	USBPrinted   = "usb.printed"    // the canonical event of a document
	USBNoise     = "usb.remarked"

	EndpointOpened      = "usb.listened"      // a printer's endpoint is open, or open to others than before
	EndpointPublished   = "usb.published"     // a printer has a name on the network
	EndpointUnpublished = "usb.unpublished"   // it cannot be published
	EndpointHindered    = "usb.hindered-link" // nothing can be published on an interface for now
	EndpointServed      = "usb.served"        // the canonical event of a request to a printer
	EndpointRefused     = "usb.refused"       // a client's request did not go to the printer
	EndpointFailed      = "usb.failed"        // it did, and the printer did not answer
	EndpointNoise       = "usb.overheard"     // what net/http says of an endpoint's connections
)
