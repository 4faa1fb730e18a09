package portal

import (
	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/proxy"
	"github.com/mfpgate/mfpgate/proxy/destination"
	"github.com/mfpgate/mfpgate/proxy/slots"
)

// refusals say to the administrator why the relay refused and what to do; what the device is told is proxy's own affair.
var refusals = map[mfpgate.Reason]string{
	proxy.BadRequest:        "The device sent a malformed request.",
	proxy.HeadTooLarge:      "The device sent a request head that is too large.",
	proxy.BadTarget:         "The device asked for a destination without a usable port.",
	proxy.HostSpelling:      "The device named the destination in a spelling that could hide another one.",
	proxy.NotProxied:        "The device spoke to the relay as to a web server. Set the relay as its proxy.",
	proxy.Loop:              "The request had passed this relay before. Check the proxy settings between the relays.",
	proxy.ClientNotAllowed:  "This address may not use the relay. If it should, add it to relay.clients.",
	proxy.NeedsAccount:      "The device gave no account. Set its proxy user and password.",
	proxy.BadAccount:        "The device's account or password is wrong. Correct it on the device or in relay.accounts.",
	proxy.AccountThrottled:  "Too many wrong passwords came from this address. It has to wait.",
	proxy.BadDeviceName:     "The device's name was not signed by a gateway that this one knows. Check relay.gateways and both clocks.",
	proxy.UnknownDevice:     "The device is not known here. Add it to devices.static, or let relay.unknown_devices admit it.",
	proxy.NotAllowed:        "No rule allows this destination. If the device needs it, add it to relay.allow.",
	proxy.Descriptors:       "The relay held as many connections as the system lets it. Raise LimitNOFILE.",
	proxy.Stopping:          "The relay was stopping.",
	proxy.ClientLeft:        "The device left before it was served.",
	proxy.SNIMismatch:       "The TLS handshake named another host than the one that was asked for.",
	proxy.NotTLS:            "The device did not speak TLS where the rule requires it.",
	proxy.BadHello:          "The TLS handshake was malformed.",
	proxy.UpstreamAuth:      "The upstream proxy wants another account. Check relay.upstream.",
	proxy.UpstreamBusy:      "The upstream proxy was at capacity.",
	proxy.UpstreamRefused:   "The upstream proxy refuses this destination. Ask who runs it.",
	proxy.SourceConnections: "The address held a quarter of all connections. Look at what it does.",
	proxy.OriginSilent:      "The destination said nothing for its idle time.",
	proxy.UpstreamAway:      "The upstream proxy could not be reached. Check relay.upstream.url.",
	proxy.UpstreamSilent:    "The upstream proxy did not answer in time.",
	proxy.UpstreamBroken:    "The upstream proxy's answer made no sense. Check relay.upstream.url.",
	proxy.OriginBroken:      "The destination's answer made no sense, or did not come.",
	proxy.Internal:          "The relay failed. Its log says how.",

	slots.ReasonQueueFull:         "All slots were in use and the queue was full.",
	slots.ReasonQueueTimeout:      "All slots stayed in use for relay.capacity.queue_timeout. The device keeps its place if it comes back.",
	slots.ReasonDeviceConnections: "The device had as many connections open as relay.per_device.connections lets it.",

	mfpgate.RegionMoved:      "The device asked for its old region, which it has left. Its directive gives it the new address.",
	mfpgate.RegionRedirected: "The device asked for its old region's management server, whose directive it has had. Look at its move.",
	mfpgate.RegionName:       "The device asked for its old region, and the new one's certificate does not have that name. It needs its directive, or the new address set by hand.",
	mfpgate.RegionLiteral:    "The device asked for an address that is no host of its region. Set a name on the device.",
	mfpgate.RegionMap:        "Which hosts belong to which region is not known, and this device has changed its region. Check the cloud's connection.",
	mfpgate.RegionHidden:     "The TLS handshake named a host of a region that the device may not reach.",

	destination.ReasonDNSError:          "The name server answered with a failure. Check the site's DNS.",
	destination.ReasonDNSTimeout:        "The name server did not answer in time. Check the site's DNS.",
	destination.ReasonNoAddress:         "The destination's name has no address. Check the device's setting and the site's DNS.",
	destination.ReasonConnectionRefused: "The destination refused the connection.",
	destination.ReasonConnectionTimeout: "The destination did not answer in time. Check the firewall and the way out.",
	destination.ReasonUnreachable:       "There is no way to the destination. Check the firewall and the way out.",
	destination.ReasonReset:             "The destination, or a firewall before it, broke the connection.",
	destination.ReasonExhausted:         "This machine had no port, descriptor or memory left.",
	destination.ReasonInterfaces:        "This machine's own addresses could not be read, so nothing could be let through.",
	destination.ReasonSelf:              "The destination is this relay itself.",
	destination.ReasonOwn:               "The destination is this machine itself.",
	destination.ReasonUnspecified:       "The destination has no real address (0.0.0.0).",
	destination.ReasonLoopback:          "The destination is a loopback address.",
	destination.ReasonPrivate:           "The destination is inside the site's own network. Only a rule with private: true lets devices go there.",
	destination.ReasonLinkLocal:         "The destination is a link-local address.",
	destination.ReasonShared:            "The destination is in the carriers' shared range (100.64.0.0/10).",
	destination.ReasonMetadata:          "The destination is a hosting provider's metadata service.",
	destination.ReasonMulticast:         "The destination is a multicast address.",
	destination.ReasonBroadcast:         "The destination is a broadcast address.",
	destination.ReasonDocumentation:     "The destination is an example address from documentation.",
	destination.ReasonBenchmark:         "The destination is in a range for benchmarks.",
	destination.ReasonDiscard:           "The destination is in a range that discards everything.",
	destination.ReasonReserved:          "The destination is in a reserved range.",
}

// whyRefused never leaves a refusal without a sentence: a reason that is newer than this table shows itself.
func whyRefused(r mfpgate.Reason) string {
	if text, ok := refusals[r]; ok {
		return text
	}
	return "Refused: " + string(r) + "."
}

// look is how a state is shown: a word and a sign, so that nothing hangs on colour.
type look struct{ Sign, Word, Class, Hint string }

func lookOf(d mfpgate.Device) look {
	why := control.DeviceReason(d.Reason)
	switch d.State {
	case mfpgate.DeviceOnline:
		return look{"●", "Online", "good", why}
	case mfpgate.DeviceOffline:
		return look{"○", "Offline", "bad", why}
	case mfpgate.DeviceKnown:
		return look{"◌", "Not seen yet", "quiet", why}
	case mfpgate.DeviceUnknown:
		return look{"?", "Unknown", "warn", why}
	}
	return look{"·", string(d.State), "quiet", why}
}

// titles name the degradations of package daemon, which imports this one; one that is not in this table shows its reason.
var titles = map[mfpgate.Reason]string{
	"config-refused":        "The configuration file was changed, and is not in force",
	"store-recovered":       "A damaged store was set aside at the last start",
	"store-full":            "The disk is nearly full",
	"relay-silent":          "The relay does not answer",
	"backup-failed":         "The last backup failed",
	"cloud-away":            "The cloud cannot be reached",
	"cloud-refused":         "The cloud does not accept the gateway's token",
	"reports-dropped":       "Reports for the cloud were dropped",
	"schedule-stale":        "The delivery schedules are out of date",
	"plan-failed":           "The delivery schedules cannot be planned",
	"bad-delivery-answer":   "The delivery system's answer breaks a rule",
	"mail-failed":           "Letters cannot be sent",
	"print-service-away":    "A print service does not answer",
	"move-switch-late":      "A region has not taken the word of a switch",
	"move-stuck":            "A device has not come to its new region",
	"region-map-unreadable": "Devices are let nowhere, for their regions cannot be read",
	"devices-unenforced":    "Devices of a changed region do not come through the relay",
	"region-keys-changed":   "The region signs under another key",
	"job-failed":            "A part of the gateway failed",
	"dns-sd-failed":         "Devices are not found by DNS-SD",
	"usb-failed":            "Printers on USB cannot be found",
	"usb-share-failed":      "Printers on USB are not all shared as configured",
	"usb-access":            "The gateway has no right to a printer on USB",
	"usb-busy":              "Another program has a printer on USB",
	"listen-overruled":      "The relay listens elsewhere than configured",
}
