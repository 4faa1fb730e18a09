package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/account"
	"github.com/mfpgate/mfpgate/proxy/destination"
	"github.com/mfpgate/mfpgate/proxy/head"
	"github.com/mfpgate/mfpgate/proxy/slots"
)

// Why the relay refused. The reasons of slots, destination and tunnel stand beside these, unchanged.
const (
	BadRequest        mfpgate.Reason = "bad-request"
	HeadTooLarge      mfpgate.Reason = "head-too-large"
	BadTarget         mfpgate.Reason = "bad-target"
	HostSpelling      mfpgate.Reason = "host-spelling"
	NotProxied        mfpgate.Reason = "not-a-proxy-request"
	Loop              mfpgate.Reason = "loop"
	ClientNotAllowed  mfpgate.Reason = "client-not-allowed"
	NeedsAccount      mfpgate.Reason = "account-required"
	BadAccount        mfpgate.Reason = "account-refused"
	AccountThrottled  mfpgate.Reason = "account-throttled"
	BadDeviceName     mfpgate.Reason = "device-name-refused"
	UnknownDevice     mfpgate.Reason = "device-unknown"
	NotAllowed        mfpgate.Reason = "destination-not-allowed"
	Descriptors       mfpgate.Reason = "descriptors"
	SourceConnections mfpgate.Reason = "address-connections"
	Stopping          mfpgate.Reason = "stopping"
	ClientLeft        mfpgate.Reason = "client-left"
	SNIMismatch       mfpgate.Reason = "sni-mismatch"
	NotTLS            mfpgate.Reason = "not-tls"
	BadHello          mfpgate.Reason = "hello-malformed"
	UpstreamAuth      mfpgate.Reason = "upstream-auth"
	UpstreamBusy      mfpgate.Reason = "upstream-busy"
	UpstreamRefused   mfpgate.Reason = "upstream-refused"
	UpstreamBroken    mfpgate.Reason = "upstream-broken"
	UpstreamAway      mfpgate.Reason = "upstream-unreachable"
	UpstreamSilent    mfpgate.Reason = "upstream-timeout"
	OriginBroken      mfpgate.Reason = "origin-broken"
	OriginSilent      mfpgate.Reason = "origin-silent"
	Internal          mfpgate.Reason = "internal"
)

// answer is what a client is told for a reason: RFC 9209 §2.3 error type, status, and a sentence that names what to do.
type answer struct {
	status     int
	proxyError string
	text       string
}

var answers = map[mfpgate.Reason]answer{
	BadRequest:        {400, "http_request_error", "The request is malformed; correct the client."},
	HeadTooLarge:      {431, "http_request_error", "The request head is over 32 KiB or 100 fields; send less."},
	BadTarget:         {400, "http_request_error", "CONNECT needs host:port with a port from 1 to 65535."},
	HostSpelling:      {403, "http_request_denied", "The host is neither a DNS name nor an address in its canonical spelling; correct it."},
	NotProxied:        {400, "http_request_error", "This is a proxy: send CONNECT, or a request with an absolute http:// URI."},
	Loop:              {508, "proxy_loop_detected", "The request has passed this relay before; check the proxy settings between the relays."},
	ClientNotAllowed:  {403, "http_request_denied", "This address may not use the relay; an administrator can add it to relay.clients."},
	NeedsAccount:      {407, "http_request_denied", "Give the device's account in Proxy-Authorization."},
	BadAccount:        {407, "http_request_denied", "The account or its password is wrong; correct it, or ask an administrator."},
	AccountThrottled:  {429, "http_request_denied", "Too many wrong passwords came from this address; wait."},
	BadDeviceName:     {403, "http_request_denied", "The device's name is not signed by a gateway that this relay knows; check relay.gateways and the clocks."},
	UnknownDevice:     {403, "http_request_denied", "This relay serves known devices only; an administrator can add this one to devices.static."},
	NotAllowed:        {403, "http_request_denied", "No rule allows this destination; an administrator can add it to relay.allow."},
	Descriptors:       {503, "connection_limit_reached", "The relay holds as many connections as its descriptor limit allows; try again."},
	SourceConnections: {429, "connection_limit_reached", "This address holds a quarter of all the connections that the relay can have; close some."},
	Stopping:          {503, "connection_limit_reached", "The relay is stopping; try again."},
	UpstreamAuth:      {502, "proxy_configuration_error", "The upstream proxy wants another account; an administrator can set relay.upstream.user and password."},
	UpstreamBusy:      {503, "connection_limit_reached", "The upstream proxy is at capacity; try again."},
	UpstreamRefused:   {502, "http_request_denied", "The upstream proxy refuses this destination; ask who runs that proxy."},
	UpstreamBroken:    {502, "http_protocol_error", "The upstream proxy's answer is not HTTP; an administrator can check relay.upstream.url."},
	UpstreamAway:      {502, "destination_unavailable", "The upstream proxy cannot be reached; an administrator can check relay.upstream.url."},
	UpstreamSilent:    {504, "connection_timeout", "The upstream proxy does not answer in time; try again."},
	OriginBroken:      {502, "http_protocol_error", "The origin's answer is not HTTP, or did not come; try again, or ask who runs the origin."},
	OriginSilent:      {504, "http_response_timeout", "Nothing moved for the idle time of this destination; try again."},

	mfpgate.RegionMoved:      {403, "http_request_denied", movedText},
	mfpgate.RegionRedirected: {403, "http_request_denied", movedText},
	mfpgate.RegionName:       {403, "http_request_denied", movedText},
	mfpgate.RegionHidden:     {403, "http_request_denied", movedText},
	mfpgate.RegionLiteral:    {403, "destination_ip_prohibited", "This device's region was changed, and the address is no host of its region; ask for the host by its name."},
	mfpgate.RegionMap:        {403, "http_request_denied", "The map of regions cannot be read, so this device is kept from every region; an administrator can find the reason in the relay's log."},
	mfpgate.RegionSwitched:   {503, "destination_unavailable", "The device's region is being changed; try again."},

	Internal: {500, "proxy_internal_error", "The relay failed; an administrator can find the reason in its log."},

	slots.ReasonQueueFull:         {503, "connection_limit_reached", "The relay is at capacity and its queue is full; try again."},
	slots.ReasonQueueTimeout:      {503, "connection_limit_reached", "The relay is at capacity; come back in time and the device keeps its turn."},
	slots.ReasonDeviceConnections: {429, "connection_limit_reached", "This device has as many connections open as it may; close one."},
}

const (
	movedText       = "This host belongs to a region that the device has left; ask the device's management server where to go."
	prohibitedText  = "The destination's address may not be reached through the relay; an administrator can set private in its rule."
	unreachableText = "The destination cannot be reached; try again."
)

// refusal is a decision not to serve, with what the log needs beside the answer.
type refusal struct {
	reason     mfpgate.Reason
	retryAfter time.Duration
	err        error // for the log alone
	text       string
	routed     bool // by Routes
}

func refuse(reason mfpgate.Reason) *refusal { return &refusal{reason: reason} }

func (r *refusal) Error() string {
	if r.err != nil {
		return string(r.reason) + ": " + r.err.Error()
	}
	return string(r.reason)
}

// Why implements mfpgate.Refused.
func (r *refusal) Why() mfpgate.Reason { return r.reason }

func (r *refusal) Unwrap() error { return r.err }

// answer never takes text from an error: that would tell a client about names and addresses behind the relay.
func (r *refusal) answer() answer {
	a, ok := answers[r.reason]
	if !ok {
		a = answer{destination.Status(r.reason), destination.ProxyError(r.reason), unreachableText}
		if a.status == http.StatusForbidden {
			a.text = prohibitedText
		}
	}
	if r.text != "" {
		a.text = r.text
	}
	return a
}

// asRefusal finds the decision in an error of the parts.
func asRefusal(ctx context.Context, err error) *refusal {
	if own, ok := errors.AsType[*refusal](err); ok {
		return own
	}
	if own, ok := errors.AsType[*refusal](context.Cause(ctx)); ok {
		return own
	}
	if bad, ok := errors.AsType[*head.Error](err); ok {
		reason := BadRequest
		if bad.Status == http.StatusRequestHeaderFieldsTooLarge {
			reason = HeadTooLarge
		}
		return &refusal{reason: reason, text: bad.Text, err: err}
	}
	if busy, ok := errors.AsType[*slots.Refused](err); ok {
		return &refusal{reason: busy.Reason, retryAfter: busy.RetryAfter}
	}
	if refused, ok := errors.AsType[mfpgate.Refused](err); ok {
		return &refusal{reason: refused.Why(), err: err}
	}
	if errors.Is(err, context.Canceled) {
		return refuse(ClientLeft)
	}
	return &refusal{reason: Internal, err: err}
}

// header returns the fields that tell a machine what the text tells a person.
func (r *refusal) header(relayName string) http.Header {
	a := r.answer()
	h := http.Header{
		"Content-Type": {"text/plain; charset=utf-8"},
		"Proxy-Status": {fmt.Sprintf("%s; error=%s; details=%q", relayName, a.proxyError, r.reason)},
	}
	if r.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(r.retryAfter/time.Second)))
	}
	if a.status == http.StatusProxyAuthRequired {
		h.Set("Proxy-Authenticate", account.Challenge())
	}
	return h
}

func (r *refusal) body() string { return string(r.reason) + ": " + r.answer().text + "\n" }

// status is the answer's, but for a malformed head whose own is more exact.
func (r *refusal) status() int {
	if bad, ok := errors.AsType[*head.Error](r.err); ok {
		return bad.Status
	}
	return r.answer().status
}

// wire writes the whole response for a connection that net/http does not serve.
func (r *refusal) wire(relayName string, keep bool) []byte {
	var b strings.Builder
	status, body := r.status(), r.body()
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	// A strings.Builder does not fail.
	_ = r.header(relayName).Write(&b)
	if !keep {
		b.WriteString("Connection: close\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return []byte(b.String())
}
