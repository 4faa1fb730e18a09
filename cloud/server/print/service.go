package print

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/print/ippsystem"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/store/seal"
	"github.com/mfpgate/mfpgate/throttle"
)

// What a service without other options does.
const (
	DefaultLifetime = 15 * time.Minute // of a code
	DefaultInterval = 5 * time.Second  // between two polls
)

// ReplayWindow is how long an answer is given again to the code verifier that it was given to.
const ReplayWindow = 60 * time.Second

// Bounds.
const (
	maxOpenPerSource = 1000   // codes that wait, of one client address
	maxCodes         = 20_000 // codes that are remembered
	maxPrinters      = 10_000
	maxPeople        = 50_000
	maxPerPrinter    = 200 // users
	maxChosen        = 15  // users of one approval
	maxOperations    = 20  // of one token
	maxStreams       = 2000
	maxStreamsOfCode = 2
	tokenLifetime    = time.Hour
	bodyWithin       = 30 * time.Second // a request's body must have come
	remembered       = 24 * time.Hour   // a code that was decided, an ended operation
	// lingering is how long a code is remembered that nobody decided. Anybody may ask for codes, so one address must not fill the
	// table with what is over.
	lingering = 15 * time.Minute
)

// Mailer sends a letter, as package mail does: what it refuses for good wraps mfpgate.ErrRefused.
type Mailer interface {
	Send(ctx context.Context, l mfpgate.Letter) error
}

// Options are what a service needs. Those that are not said to have a default are required.
type Options struct {
	Region string
	Store  store.Store // the service's own view
	Clock  mfpgate.Clock
	Sealer *seal.Sealer
	// Authority certifies the printers' keys.
	Authority Authority
	// Administrator tells whether the password is that of the administrator with this mail address.
	Administrator func(mail string, password mfpgate.Secret) (bool, error)
	// Mailer may be nil: then the pages show the links that users confirm with, for the administrator to hand on.
	Mailer Mailer
	// URL is the base of every address that is told, without a slash at its end. At sets it later.
	URL       string
	Lifetime  time.Duration // of a code; 0 is DefaultLifetime
	Interval  time.Duration // between two polls; 0 is DefaultInterval
	Heartbeat time.Duration // between comments of an event stream; 0 is 15 s
	// Asset is where pages load a file of the region's pages from: console.css, icon.svg.
	Asset func(name string) (string, error)
	// Noted is told why a request was refused, for its log event, and returns the request's id. cause may be nil.
	Noted func(r *http.Request, reason mfpgate.Reason, detail string, cause error) string
	// Caller is told who proved to be who, for the same event.
	Caller func(r *http.Request, who string)
	// Troubled is told of work that nobody asked for and that failed.
	Troubled func(error)
	// Ending is closed when event streams shall end.
	Ending <-chan struct{}
}

// Service is one region's print service. It is safe for concurrent use.
type Service struct {
	Options
	begun     time.Time
	url       atomic.Pointer[string]
	journal   *journal.Journal
	templates *template.Template
	wrong     wrongCodes
	passwords *throttle.Throttle
	letters   *throttle.Throttle
	polls     paces
	streams   streams
	opening   sync.Mutex // one code comes to be at a time, so that the bounds hold
	known     int        // codes that are remembered, -1 before they are counted; guarded by opening
}

// New builds a service. Run does what is due.
func New(o Options) (*Service, error) {
	if o.Lifetime < 0 || o.Interval < 0 || o.Heartbeat < 0 {
		return nil, errors.New("print service: lifetime, interval and heartbeat must be positive")
	}
	for at, value := range map[*time.Duration]time.Duration{&o.Lifetime: DefaultLifetime, &o.Interval: DefaultInterval, &o.Heartbeat: 15 * time.Second} {
		if *at == 0 {
			*at = value
		}
	}
	s := &Service{Options: o, begun: o.Clock.Now(), known: -1,
		wrong: newWrongCodes(o.Clock), passwords: throttle.New(o.Clock, 5, 30*time.Second), letters: throttle.New(o.Clock, lettersAtOnce, lettersEvery),
		polls: newPaces(o.Interval), streams: streams{of: map[string]map[chan struct{}]bool{}}}
	s.At(o.URL)
	var err error
	s.journal, err = journal.New(o.Store, journal.Options{
		Clock: o.Clock, Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		Gateway: o.Region, Room: "print", Observe: s.observe,
	})
	if err != nil {
		return nil, fmt.Errorf("print service: %w", err)
	}
	s.journal.Handle(kindRegister, s.register)
	s.journal.Handle(kindLetter, s.invite)
	s.journal.Handle(kindForget, s.forget)
	if err := s.parseTemplates(); err != nil {
		return nil, fmt.Errorf("print service: %w", err)
	}
	return s, nil
}

func (s *Service) observe(e journal.Event) {
	switch e.What {
	case journal.Done:
		if e.Kind == kindRegister {
			s.ended(e.ID)
		}
	case journal.Died, journal.Unreadable, journal.Unhandled, journal.Unstored:
		s.Troubled(fmt.Errorf("print service: %s %s: %s: %w", e.Kind, e.ID, e.What, e.Err))
	}
}

// At says under which base URL the service is reached.
func (s *Service) At(url string) {
	url = strings.TrimSuffix(url, "/")
	s.url.Store(&url)
}

func (s *Service) base() string { return *s.url.Load() }

// Run issues certificates, sends letters and forgets what is over, until ctx ends. It returns an error if the store cannot be followed.
func (s *Service) Run(ctx context.Context) error { return s.journal.Run(ctx) }

// Mount adds the service's resources to a region's.
func (s *Service) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", s.metadata)
	mux.HandleFunc("GET /.well-known/openid-configuration", s.metadata)
	mux.Handle("POST /oauth/device_authorization", s.prompt(http.HandlerFunc(s.deviceAuthorization)))
	mux.Handle("POST /oauth/token", s.prompt(http.HandlerFunc(s.token)))
	mux.HandleFunc("GET /oauth/device_events", s.deviceEvents)
	mux.Handle("POST /print/v1/printers", s.prompt(http.HandlerFunc(s.postPrinter)))
	mux.Handle("GET /print/v1/printers/{id}", s.prompt(http.HandlerFunc(s.getPrinter)))
	mux.Handle("DELETE /print/v1/printers/{id}", s.prompt(http.HandlerFunc(s.deletePrinter)))
	mux.Handle("POST /print/v1/printers/{id}/users", s.prompt(http.HandlerFunc(s.postUser)))
	mux.Handle("GET /print/v1/operations/{id}", s.prompt(http.HandlerFunc(s.getOperation)))
	mux.Handle("POST "+ippsystem.Path, s.prompt(ippsystem.Handler(system{s})))
	s.mountPages(mux)
}

// prompt ends a request whose body does not come: who sends a byte now and then holds a connection no longer than that.
func (s *Service) prompt(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetReadDeadline(s.Clock.Now().Add(bodyWithin)) // where it cannot be set, the server's own holds
		next.ServeHTTP(w, r)
	})
}
