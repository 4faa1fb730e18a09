package proxy

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/account"
	"github.com/mfpgate/mfpgate/proxy/destination"
	"github.com/mfpgate/mfpgate/proxy/slots"
)

// Policy is everything of the relay that a reload may change. It is one immutable value: a connection keeps the one that
// was in force when its head was read.
type Policy struct {
	Clients      []netip.Prefix
	Accounts     *account.File             // nil: no device identifies itself
	Gateways     map[string]mfpgate.Secret // by account: inner gateways that may name their devices, and the key of each
	AdmitUnknown bool
	Allow        []mfpgate.AllowRule
	Upstream     *Upstream // nil: every destination is dialled directly

	Capacity func(time.Time) (devices int, until time.Time)
	// Planned says whether t is in a planned slot of a device, which then goes before others that wait; see slots.Options.
	// A device that an inner gateway named is asked for by the id that the inner gateway gave it. Nil: nothing is planned.
	Planned      func(device mfpgate.DeviceID, t time.Time) bool
	QueueTimeout time.Duration
	Linger       time.Duration
	Connections  int   // per device
	Rate         int64 // bytes per second per device; 0 is no limit

	Resolver    *net.Resolver // nil: Options.Resolver; see destination.ResolverOf
	DialTimeout time.Duration
	Idle        time.Duration // of a tunnel whose rule says nothing else
	HeadTimeout time.Duration

	rules *destination.Policy
	out   *outbound // one value with the rest: a request never meets another policy's way out
}

// Upstream is a proxy that the relay goes through.
type Upstream struct {
	URL       *url.URL // http://host:port
	User      string
	Password  mfpgate.Secret
	Except    []mfpgate.HostPattern // destinations that are dialled directly; networks are held against literal addresses
	DeviceKey mfpgate.Secret        // not empty: the upstream is another mfpgate, and devices are named to it
}

func (u *Upstream) covers(host mfpgate.Host) bool {
	if u == nil {
		return false
	}
	for _, p := range u.Except {
		if p.Matches(host) {
			return false
		}
	}
	return true
}

func (p *Policy) allowsClient(addr netip.Addr) bool {
	for _, prefix := range p.Clients {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// planned is Planned by the keys of admission.
func (p *Policy) planned() func(slots.Key, time.Time) bool {
	if p.Planned == nil {
		return nil
	}
	return func(key slots.Key, t time.Time) bool { return p.Planned(scheduled(key), t) }
}

// scheduled is the id by which a schedule names the device that a key stands for.
func scheduled(key slots.Key) mfpgate.DeviceID {
	return mfpgate.DeviceID(key[strings.LastIndexByte(string(key), '/')+1:])
}

// maxTurn keeps what a tunnel waits for at a time, under a rate, well below linger: else the device's slot would lapse in
// the midst of a transfer.
func (p *Policy) maxTurn() int {
	if p.Rate <= 0 {
		return 0
	}
	return int(min(max(float64(p.Rate)*p.Linger.Seconds()/4, 1<<10), 1<<20))
}

// Devices is the registry's part: who a connection is. Calls come from every connection at once and must not wait.
type Devices interface {
	// Identify finds the device of an account or, where account is empty, of a source address, and notes that it was
	// seen. A device that no configuration names has an id too and is not known; the id is empty only if the registry
	// takes no more strangers.
	Identify(address netip.Addr, account string) (id mfpgate.DeviceID, name string, known bool)
}
