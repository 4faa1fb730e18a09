package destination

import (
	"net/http"

	"github.com/mfpgate/mfpgate"
)

// Why Dial refused. The address-* reasons and self are decisions of the guard; the others are what the network answered.
const (
	ReasonDNSError          mfpgate.Reason = "dns-error"           // the resolver answered with a failure
	ReasonDNSTimeout        mfpgate.Reason = "dns-timeout"         // the resolver did not answer in time
	ReasonNoAddress         mfpgate.Reason = "no-address"          // the name does not exist or has no address
	ReasonConnectionRefused mfpgate.Reason = "connection-refused"  // ECONNREFUSED
	ReasonConnectionTimeout mfpgate.Reason = "connection-timeout"  // no answer within Dialer.Timeout, or ETIMEDOUT
	ReasonUnreachable       mfpgate.Reason = "unreachable"         // no route, or a firewall said so
	ReasonReset             mfpgate.Reason = "reset"               // ECONNRESET while connecting
	ReasonExhausted         mfpgate.Reason = "resources-exhausted" // this machine has no descriptor, port or memory left
	ReasonInterfaces        mfpgate.Reason = "interfaces-unknown"  // the machine's own addresses cannot be read, so none can be excluded

	ReasonSelf          mfpgate.Reason = "self"                  // one of the relay's own listeners
	ReasonOwn           mfpgate.Reason = "address-own"           // an address of one of this machine's interfaces
	ReasonUnspecified   mfpgate.Reason = "address-unspecified"   // 0.0.0.0/8, ::
	ReasonLoopback      mfpgate.Reason = "address-loopback"      // 127.0.0.0/8, ::1
	ReasonPrivate       mfpgate.Reason = "address-private"       // RFC 1918, RFC 4193, RFC 3879, RFC 8215
	ReasonLinkLocal     mfpgate.Reason = "address-link-local"    // RFC 3927, RFC 4291 section 2.5.6
	ReasonShared        mfpgate.Reason = "address-shared"        // 100.64.0.0/10 of carriers' NAT, RFC 6598
	ReasonMetadata      mfpgate.Reason = "address-metadata"      // a hosting provider's instance metadata service
	ReasonMulticast     mfpgate.Reason = "address-multicast"     // RFC 5771, RFC 4291 section 2.7
	ReasonBroadcast     mfpgate.Reason = "address-broadcast"     // 255.255.255.255
	ReasonDocumentation mfpgate.Reason = "address-documentation" // RFC 5737, RFC 3849, RFC 9637
	ReasonBenchmark     mfpgate.Reason = "address-benchmark"     // RFC 2544, RFC 5180
	ReasonDiscard       mfpgate.Reason = "address-discard"       // RFC 6666
	ReasonReserved      mfpgate.Reason = "address-reserved"      // everything else that is not globally reachable unicast
)

// meaning is what the world outside is told of a reason.
type meaning struct {
	proxyError string // RFC 9209 section 2.3
	status     int
}

var meanings = map[mfpgate.Reason]meaning{
	ReasonDNSError:          {"dns_error", http.StatusBadGateway},
	ReasonDNSTimeout:        {"dns_timeout", http.StatusGatewayTimeout},
	ReasonNoAddress:         {"dns_error", http.StatusBadGateway},
	ReasonConnectionRefused: {"connection_refused", http.StatusBadGateway},
	ReasonConnectionTimeout: {"connection_timeout", http.StatusGatewayTimeout},
	ReasonUnreachable:       {"destination_ip_unroutable", http.StatusBadGateway},
	ReasonReset:             {"connection_terminated", http.StatusBadGateway},
	ReasonExhausted:         {"proxy_internal_error", http.StatusBadGateway},
	ReasonInterfaces:        {"proxy_internal_error", http.StatusBadGateway},
	ReasonSelf:              {"proxy_loop_detected", http.StatusForbidden},
}

// prohibited is 403, not the 502 that RFC 9209 recommends for it: a device retries a 502, and this answer will not change.
var prohibited = meaning{"destination_ip_prohibited", http.StatusForbidden}

func meaningOf(r mfpgate.Reason) meaning {
	if m, ok := meanings[r]; ok {
		return m
	}
	return prohibited
}

// ProxyError returns the RFC 9209 section 2.3 error type of a reason of this package.
func ProxyError(r mfpgate.Reason) string { return meaningOf(r).proxyError }

// Status returns the HTTP status that a client gets for a reason of this package: 403, 502 or 504.
func Status(r mfpgate.Reason) int { return meaningOf(r).status }

// Refusal is the error of Dial when the destination cannot or must not be reached.
type Refusal struct {
	Reason mfpgate.Reason
	Err    error // for the log only: it names resolvers and addresses; may be nil
}

// Why implements mfpgate.Refused.
func (r *Refusal) Why() mfpgate.Reason { return r.Reason }

// Error names the reason and what lies behind it.
func (r *Refusal) Error() string {
	if r.Err == nil {
		return "destination refused: " + string(r.Reason)
	}
	return "destination refused: " + string(r.Reason) + ": " + r.Err.Error()
}

// Unwrap returns Err.
func (r *Refusal) Unwrap() error { return r.Err }
