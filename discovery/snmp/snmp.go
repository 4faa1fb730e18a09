package snmp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/gosnmp/gosnmp"
	"golang.org/x/time/rate"

	"github.com/mfpgate/mfpgate"
)

// The bounds of what is read from one device and kept of all.
const (
	MaxText       = 256       // octets of one text
	MaxRows       = 256       // rows of one table
	MaxSupplies   = 64        // supplies of one device
	MaxBytes      = 256 << 10 // octets of values in one walk
	MaxExchanges  = 64        // requests of one walk, without repeats
	MaxRemembered = 4096      // addresses of which it is remembered how they want to be asked
	MaxAddresses  = 1 << 16   // addresses of one Scan

	MaxSession = time.Minute // one Identify or Read, the wait for its turns included; it ends with ErrSilent
)

// What is taken where Options say nothing.
const (
	DefaultPort     = 161
	DefaultTimeout  = 2 * time.Second
	DefaultRetries  = 1
	DefaultRate     = 200 // packets per second
	DefaultParallel = 16
)

// ErrNotPrinter is returned for an agent that answers and shows no sign of a printer.
var ErrNotPrinter = errors.New("not a printer")

// ErrCredentials is returned when the agent refuses every user that is configured, and no community helps: it does not know
// the user, or the user's password or way of hashing is another, or the user may not read. An agent that is asked with a
// wrong community, or a wrong privacy password, usually does not say so: it is silent.
var ErrCredentials = errors.New("the agent refuses the configured users")

// ErrSilent is returned when nothing came back in time. errors.Is(err, os.ErrDeadlineExceeded) holds, too.
var ErrSilent error = silence{}

type silence struct{}

func (silence) Error() string        { return "no answer" }
func (silence) Timeout() bool        { return true }
func (silence) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// User is a user of version 3 (RFC 3414). Its security level follows from what it has: none, Auth, or both.
type User struct {
	Name            string
	Auth            string         // none (or empty), md5, sha, sha224, sha256, sha384, sha512
	AuthPassword    mfpgate.Secret // at least 8 octets (RFC 3414 §11.2)
	Privacy         string         // none (or empty), des, aes, aes192, aes256; needs Auth
	PrivacyPassword mfpgate.Secret // at least 8 octets
	ContextName     string
}

// Options are what a Client is built from. Users are tried before communities, each in its order, version 2c before 1.
type Options struct {
	Clock       mfpgate.Clock
	Communities []string
	Users       []User
	Port        uint16        // 0: DefaultPort
	Timeout     time.Duration // for one answer; 0: DefaultTimeout
	Retries     int           // repeats of an unanswered request; 0: DefaultRetries, negative: none
	Rate        float64       // packets per second over everything; 0: DefaultRate
	Parallel    int           // devices that a Scan identifies at once; 0: DefaultParallel
	Rand        *rand.Rand    // the order of a Scan; nil: one of its own. It must not be used elsewhere meanwhile
	Sent        func()        // called once for each packet that is sent, from any goroutine; may be nil
}

// Client is safe for concurrent use. It holds no socket between calls, and no goroutine.
type Client struct {
	Options
	ways   []way
	limit  *rate.Limiter
	memory *memory
	scan   chan struct{} // capacity 1: one Scan at a time
}

// way is one manner of speaking to an agent.
type way struct {
	version   gosnmp.SnmpVersion
	community string
	user      int // in Options.Users, with version 3
}

// New checks the options; its error names what is wrong and how to mend it. No secret is in it.
func New(o Options) (*Client, error) {
	if o.Clock == nil {
		return nil, errors.New("snmp: a clock is needed")
	}
	if len(o.Communities)+len(o.Users) == 0 {
		return nil, errors.New("snmp: neither a community nor a user is configured; name at least one")
	}
	if o.Port == 0 {
		o.Port = DefaultPort
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Retries == 0 {
		o.Retries = DefaultRetries
	}
	o.Retries = max(o.Retries, 0)
	if o.Rate <= 0 {
		o.Rate = DefaultRate
	}
	if o.Parallel <= 0 {
		o.Parallel = DefaultParallel
	}
	if o.Rand == nil {
		o.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if o.Sent == nil {
		o.Sent = func() {}
	}

	c := &Client{Options: o, memory: newMemory(MaxRemembered), scan: make(chan struct{}, 1)}
	for i, u := range o.Users {
		if _, err := u.parameters(); err != nil {
			return nil, fmt.Errorf("snmp: user %q: %w", u.Name, err)
		}
		c.ways = append(c.ways, way{version: gosnmp.Version3, user: i})
	}
	for i, name := range o.Communities {
		if name == "" || len(name) > 127 {
			return nil, fmt.Errorf("snmp: community %d has %d octets; write 1 to 127", i+1, len(name))
		}
		c.ways = append(c.ways, way{version: gosnmp.Version2c, community: name}, way{version: gosnmp.Version1, community: name})
	}
	// A burst of a twentieth of a second keeps the average and saves most of the waking up.
	c.limit = rate.NewLimiter(rate.Limit(o.Rate), max(1, int(o.Rate/20)))
	return c, nil
}

// turn waits until one more packet may be sent, and counts it.
func (c *Client) turn(ctx context.Context) error {
	now := c.Clock.Now()
	if wait := c.limit.ReserveN(now, 1).DelayFrom(now); wait > 0 {
		if err := mfpgate.Wait(ctx, c.Clock, wait); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.Sent()
	return nil
}

// parameters are the user's in the library's terms.
func (u User) parameters() (*gosnmp.UsmSecurityParameters, error) {
	auth, known := map[string]gosnmp.SnmpV3AuthProtocol{
		"": gosnmp.NoAuth, "none": gosnmp.NoAuth, "md5": gosnmp.MD5, "sha": gosnmp.SHA, "sha224": gosnmp.SHA224,
		"sha256": gosnmp.SHA256, "sha384": gosnmp.SHA384, "sha512": gosnmp.SHA512,
	}[u.Auth]
	if !known {
		return nil, fmt.Errorf("authentication %q is unknown; write none, md5, sha, sha224, sha256, sha384 or sha512", u.Auth)
	}
	privacy, known := map[string]gosnmp.SnmpV3PrivProtocol{
		"": gosnmp.NoPriv, "none": gosnmp.NoPriv, "des": gosnmp.DES, "aes": gosnmp.AES, "aes192": gosnmp.AES192, "aes256": gosnmp.AES256,
	}[u.Privacy]
	switch {
	case !known:
		return nil, fmt.Errorf("privacy %q is unknown; write none, des, aes, aes192 or aes256", u.Privacy)
	case u.Name == "" || len(u.Name) > 32:
		return nil, fmt.Errorf("a name has 1 to 32 octets (RFC 3414 §2.4), not %d", len(u.Name))
	case len(u.ContextName) > 255:
		return nil, fmt.Errorf("a context name has at most 255 octets, not %d", len(u.ContextName))
	case privacy != gosnmp.NoPriv && auth == gosnmp.NoAuth:
		return nil, errors.New("privacy needs authentication (RFC 3414 §1.4.3); choose one")
	case auth != gosnmp.NoAuth && len(u.AuthPassword) < 8:
		return nil, errors.New("the authentication password has fewer than 8 octets (RFC 3414 §11.2)")
	case privacy != gosnmp.NoPriv && len(u.PrivacyPassword) < 8:
		return nil, errors.New("the privacy password has fewer than 8 octets (RFC 3414 §11.2)")
	}
	p := &gosnmp.UsmSecurityParameters{UserName: u.Name, AuthenticationProtocol: auth, PrivacyProtocol: privacy}
	if auth != gosnmp.NoAuth {
		p.AuthenticationPassphrase = u.AuthPassword.Reveal()
	}
	if privacy != gosnmp.NoPriv {
		p.PrivacyPassphrase = u.PrivacyPassword.Reveal()
	}
	return p, nil
}

// level is the security level that goes with the parameters.
func level(p *gosnmp.UsmSecurityParameters) gosnmp.SnmpV3MsgFlags {
	switch {
	case p.PrivacyProtocol > gosnmp.NoPriv:
		return gosnmp.AuthPriv
	case p.AuthenticationProtocol > gosnmp.NoAuth:
		return gosnmp.AuthNoPriv
	}
	return gosnmp.NoAuthNoPriv
}
