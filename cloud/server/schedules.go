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
