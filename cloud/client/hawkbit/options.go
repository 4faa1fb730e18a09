package hawkbit

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry"
)

// The bounds of what is read and kept.
const (
	MaxTargets = 20_000  // of one gateway
	MaxActions = 100_000 // active ones of the whole tenant, which are read to find the gateway's
	MaxMoves   = 10_000  // rows in the log
)

// ErrAnswer is wrapped by errors about answers that hawkBit would not give: too long, not JSON, contradictory, or a redirect.
var ErrAnswer = errors.New("not an answer of hawkBit")

// Options say which hawkBit and as whom. URL, User, Password, Clock, Targets and Log are required.
type Options struct {
	URL      string // https://host[:port], or http on a loopback address; without a path
	User     string // "tenant\user" where hawkBit has more tenants than one
	Password mfpgate.Secret
	RootCAs  *x509.CertPool                        // nil: the system's
	Proxy    func(*http.Request) (*url.URL, error) // nil: none
	Timeout  time.Duration                         // of one call; 0: 30 s
	Clock    mfpgate.Clock
	Log      Log
	Logger   telemetry.Logger

	Targets         string // RSQL that selects the gateway's targets: attribute.gateway==osaka-1, metadata.gateway==…, tag==…
	DeviceAttribute string // the target attribute with the gateway's id of the device; "": the controllerId is that
	WindowAttribute string // the target attribute with the interval in which starts may be moved, "from/to" in RFC 3339; "": none
	Duration        mfpgate.DurationEstimate
	Zone            *time.Location // of the site: it gives one-shot windows the offset of their date; nil: the offset that the window had
	Ahead           time.Duration  // how long before its start a held assignment is made; 0 to 1 h
	Poll            time.Duration  // how often it is asked whether a device has confirmed; 0: 1 min
}

// Client is one hawkBit as one gateway's delivery system. It is safe for concurrent use. Moves are made by Run.
type Client struct {
	o    Options
	base *url.URL
	http *http.Client

	work sync.Mutex // one step of a move, or one change of the rows, at a time
	mu   sync.Mutex // what follows
	rows map[string]Intent
	read bool // rows is what the log has
	seen map[string]traits
	wake chan struct{}
	news chan struct{}
}

// New checks the options. It makes no call.
func New(o Options) (*Client, error) {
	base, err := url.Parse(o.URL)
	if err != nil {
		return nil, errors.New("hawkbit url: not a URL") // the error would quote it, with a password that may be in it
	}
	switch {
	case base.Host == "" || strings.Trim(base.Path, "/") != "" || base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return nil, fmt.Errorf("hawkbit url %q: must be https://host[:port] and nothing more", base.Redacted())
	case base.Scheme != "https" && (base.Scheme != "http" || !mfpgate.Loopback(base.Hostname())):
		return nil, fmt.Errorf("hawkbit url %q: must start with https://; plain http is for loopback addresses only", base.Redacted())
	case o.User == "" || o.Password == "" || strings.Contains(o.User, ":"):
		return nil, errors.New("hawkbit: a user, without a colon, and a password are required")
	case o.Targets == "" || len(o.Targets) > 1024:
		return nil, errors.New("hawkbit: the query for the gateway's targets is required, up to 1024 bytes; write attribute.gateway==osaka-1")
	case o.Clock == nil || o.Log == nil:
		return nil, errors.New("hawkbit: a clock and a log are required")
	case o.Ahead < 0 || o.Ahead > time.Hour:
		return nil, fmt.Errorf("hawkbit: %s ahead: 0 to 1 h", o.Ahead)
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Poll <= 0 {
		o.Poll = time.Minute
	}
	return &Client{
		o: o, base: base, wake: make(chan struct{}, 1), news: make(chan struct{}, 1), seen: map[string]traits{},
		http: &http.Client{
			Timeout:       o.Timeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				Proxy: o.Proxy, TLSClientConfig: &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
				DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
				TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: o.Timeout, IdleConnTimeout: 90 * time.Second,
				MaxIdleConns: 4, MaxResponseHeaderBytes: 32 << 10,
			},
		},
	}, nil
}

// Close frees idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }
