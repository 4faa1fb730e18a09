package control

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

type list[T any] struct {
	Body struct {
		Items []T `json:"items" nullable:"false"`
	}
}

func listOf[T any](items []T) *list[T] {
	out := &list[T]{}
	out.Body.Items = items
	if items == nil {
		out.Body.Items = []T{}
	}
	return out
}

// Handler serves the API on g. version is the program's.
func Handler(g Gateway, version string) http.Handler {
	mux := http.NewServeMux()
	config := huma.DefaultConfig("mfpgate", version)
	config.OpenAPIPath = "/api/v1/openapi"
	config.DocsPath = "" // the documentation page would load scripts from elsewhere
	config.SchemasPath = "/api/v1/schemas"
	config.CreateHooks = nil // no $schema members: the objects are the same on every door
	api := humago.New(mux, config)

	get(api, "status", "The gateway in one look", func(ctx context.Context, _ *struct{}) (*struct{ Body Status }, error) {
		return &struct{ Body Status }{g.Status(ctx)}, nil
	})
	devices(api, g)
	schedules(api, g)
	registrations(api, g)
	moves(api, g)
	audits(api, g)
	get(api, "slots", "Devices that are served or wait", func(ctx context.Context, _ *struct{}) (*list[Slot], error) {
		return listOf(g.Slots(ctx)), nil
	})
	get(api, "tunnels", "Open tunnels", func(ctx context.Context, _ *struct{}) (*list[Tunnel], error) {
		return listOf(g.Tunnels(ctx)), nil
	})
	get(api, "refusals", "The latest refusals", func(ctx context.Context, _ *struct{}) (*list[Refusal], error) {
		return listOf(g.Refusals(ctx)), nil
	})
	get(api, "history", "The relay's load over the last hour", func(ctx context.Context, _ *struct{}) (*list[Sample], error) {
		return listOf(g.History(ctx)), nil
	})
	users(api, g)
	return mux
}

func get[O any](api huma.API, name, summary string, f func(context.Context, *struct{}) (*O, error)) {
	huma.Register(api, huma.Operation{OperationID: "get-" + strings.ReplaceAll(name, "/", "-"), Method: http.MethodGet, Path: "/api/v1/" + name, Summary: summary}, f)
}
