package server

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// maxIDs bounds a list of ids in a document.
const maxIDs = 100_000

// selection describes a list of ids, or the word all; version a text, or a number.
type (
	selection struct{}
	version   struct{}
)

func (selection) Schema(huma.Registry) *huma.Schema {
	most, longest := maxIDs, 64
	return &huma.Schema{OneOf: []*huma.Schema{
		{Type: huma.TypeString, Enum: []any{api.All}},
		{Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString, MaxLength: &longest}, MaxItems: &most},
	}}
}

func (version) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{{Type: huma.TypeString}, {Type: huma.TypeInteger}}}
}

// selections tells huma what the wire's own texts look like.
func selections(r huma.Registry) {
	r.RegisterTypeAlias(typeOf[api.DeviceSelector](), typeOf[selection]())
	r.RegisterTypeAlias(typeOf[api.AcceptList](), typeOf[selection]())
	r.RegisterTypeAlias(typeOf[api.Version](), typeOf[version]())
}

// durations lets huma take durations as the wire has them. By its own rule a text of JSON Schema's format duration, which is ISO 8601's, must
// be one of Go's.
func durations(schemas map[string]*huma.Schema) {
	seen := map[*huma.Schema]bool{}
	var walk func(*huma.Schema)
	walk = func(s *huma.Schema) {
		if s == nil || seen[s] {
			return
		}
		seen[s] = true
		if s.Format == "duration" {
			s.Format, s.Pattern, s.PatternDescription = "", "^P", "an ISO 8601 duration"
			s.PrecomputeMessages()
		}
		walk(s.Items)
		for _, p := range s.Properties {
			walk(p)
		}
	}
	for _, s := range schemas {
		walk(s)
	}
}

func (s *Server) registerSchedules(a huma.API) {
	s.registerDeliveries(a)
	s.registerBackground(a)
	s.registerWarnings(a)
	s.registerProposals(a)
	huma.Register(a, operation(a, http.MethodGet, "/v1/gateways/{gw}/capacity", "get-capacity",
		"The planned load over time", roleGateway, roleOperator), s.getCapacity)
	huma.Register(a, operation(a, http.MethodGet, "/v1/gateways/{gw}/events", "list-events",
		"News for a gateway, by long poll", roleGateway, roleOperator), s.listEvents)
}
