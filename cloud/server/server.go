package server

import (
	"errors"
	"hash/maphash"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/print"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/cloud/server/region"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/throttle"
)

// maxBody bounds every request body, in bytes. The largest document, a device, stays far below.
const maxBody = 64 << 10

// Options are what a region needs. All fields before Mailer are required.
type Options struct {
	Region       string // ISO 3166-1 alpha-2, lower case
	Folder       *provision.Folder
	Store        store.Store
	Clock        mfpgate.Clock // also sets write deadlines: the machine's own wherever real connections are served
	Log          telemetry.Logger
	PollInterval time.Duration // what devices are told at check-in
	PushInterval time.Duration // between heartbeats of a push channel

	// The print service's. Mailer may be nil: then its pages show the links that users confirm their addresses with.
	Mailer       print.Mailer
	CodeLifetime time.Duration // of a code that an administrator types; 0 is print.DefaultLifetime
	CodeInterval time.Duration // between two polls of such a code; 0 is print.DefaultInterval
	PublicURL    string        // under which clients and people reach the region; "" is where Run listens

	Moves Moves // of devices between regions
}

// Server is one region.
type Server struct {
	Options
	factory mfpgate.Secret
	mux     *http.ServeMux
	ending  chan struct{}
	end     func()
	gates   gates
	trees   gates // of schedules
	news    news
	boards  boards
	epoch   string // of the logs that this process begins
	wrong   *throttle.Throttle
	print   *print.Service

	management *region.Management
	services   *region.Services
}

// New builds the region's API.
func New(o Options) (*Server, error) {
	if o.PollInterval <= 0 || o.PushInterval <= 0 {
		return nil, errors.New("poll and push interval must be positive")
	}
	factory, err := o.Folder.FactoryKey()
	if err != nil {
		return nil, err
	}
	s := &Server{Options: o, factory: factory, mux: http.NewServeMux(), ending: make(chan struct{}),
		gates: gates{seed: maphash.MakeSeed()}, trees: gates{seed: maphash.MakeSeed()}, news: news{waiting: map[string]chan struct{}{}, polls: map[string]int{}},
		boards: boards{each: map[string]*board{}},
		epoch:  mfpgate.NewID(o.Clock, "log"), wrong: throttle.New(o.Clock, wrongBurst, wrongEvery)}
	s.end = sync.OnceFunc(func() { close(s.ending) })

	config := huma.DefaultConfig("mfpgate reference region", "1.0.0")
	config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", nil // no page that loads scripts from elsewhere, no $schema in documents
	config.AllowAdditionalPropertiesByDefault = true                      // readers ignore fields that they do not know
	config.Transformers = []huma.Transformer{toProblem}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		string(roleGateway):        {Type: "http", Scheme: "bearer", Description: "The token that `mfpcloud gateway add` printed"},
		string(roleDevice):         {Type: "http", Scheme: "bearer", Description: "The device's factory token"},
		string(roleOperator):       {Type: "http", Scheme: "basic", Description: "The account that `mfpcloud operator add` made"},
		string(rolePeerManagement): {Type: "http", Scheme: "bearer", Description: "A region's management server: the token of `mfpcloud peer invite`"},
		string(rolePeerServices):   {Type: "http", Scheme: "bearer", Description: "A region's services: the token of `mfpcloud peer invite`"},
	}
	selections(config.Components.Schemas)
	humaAPI := humago.New(s.mux, config)
	humaAPI.UseMiddleware(s.authorize)
	s.registerGateways(humaAPI)
	s.registerTelemetry(humaAPI)
	s.registerPackages(humaAPI)
	s.registerMFPs(humaAPI)
	s.registerFetched(humaAPI)
	s.registerSchedules(humaAPI)
	if err := s.registerRoles(humaAPI); err != nil {
		return nil, err
	}
	durations(config.Components.Schemas.Map())
	if err := s.registerPages(); err != nil {
		return nil, err
	}
	return s, nil
}

// Handler serves the region. One log event is written per request.
func (s *Server) Handler() http.Handler { return s.canonical(http.HandlerFunc(s.route)) }

// EndStreams ends the push channels and refuses new ones, so that a shutdown does not wait for them.
func (s *Server) EndStreams() { s.end() }

// route answers what the mux has no handler for, or another method for, as a problem instead of the mux's plain text.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	if _, pattern := s.mux.Handler(r); pattern != "" {
		s.mux.ServeHTTP(w, r)
		return
	}
	probe := &statusOnly{header: http.Header{}}
	s.mux.ServeHTTP(probe, r)
	if allow := probe.header.Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
		writeProblem(w, r, refuse(http.StatusMethodNotAllowed, ReasonMethod, "this resource has no "+clip(r.Method)+"; it has "+allow))
		return
	}
	writeProblem(w, r, refuse(http.StatusNotFound, ReasonNoResource, "there is no such resource; /openapi.json lists them"))
}

type statusOnly struct{ header http.Header }

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) Write(p []byte) (int, error) { return len(p), nil }
func (s *statusOnly) WriteHeader(int)             {}

// operation describes one route: who may call it, and that its errors are problems.
func operation(a huma.API, method, path, id, summary string, callers ...role) huma.Operation {
	op := huma.Operation{
		Method: method, Path: path, OperationID: id, Summary: summary, MaxBodyBytes: maxBody,
		Responses: map[string]*huma.Response{"default": {
			Description: "What went wrong",
			Content: map[string]*huma.MediaType{"application/problem+json": {
				Schema: huma.SchemaFromType(a.OpenAPI().Components.Schemas, typeOf[api.Problem]()),
			}},
		}},
	}
	for _, c := range callers {
		if c == roleAnybody {
			op.Security = []map[string][]string{{}} // OpenAPI's way to say so
			break
		}
		op.Security = append(op.Security, map[string][]string{string(c): {}})
	}
	return op
}
