package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api/sse"
)

// maxStreams is how many may follow registrations at once: each holds a connection.
const maxStreams = 64

// maxEvent bounds a line of a stream, in bytes: a registration is far smaller.
const maxEvent = 1 << 20

// events is a stream of what a registration becomes. The gateway's changes come with heartbeats, so that a reader who has gone
// is noticed.
func events(api huma.API, g Registrations) {
	places := make(chan struct{}, maxStreams)
	huma.Register(api, huma.Operation{OperationID: "follow-registration", Method: http.MethodGet, Path: "/api/v1/registrations/{id}/events",
		Summary: "What it becomes, as server-sent events: the registration at first and after each change, until it has ended",
		Responses: map[string]*huma.Response{"200": {Description: "events named registration, with its JSON as data",
			Content: map[string]*huma.MediaType{sse.ContentType: {Schema: &huma.Schema{Type: huma.TypeString}}}}}},
		func(ctx context.Context, in *registrationIn) (*huma.StreamResponse, error) {
			select {
			case places <- struct{}{}:
			default:
				return nil, huma.Error503ServiceUnavailable(fmt.Sprintf("%d streams are open; ask for the registration itself instead", maxStreams))
			}
			if _, err := g.Registration(ctx, in.ID); err != nil {
				<-places
				return nil, registrationProblem(err)
			}
			return &huma.StreamResponse{Body: func(hctx huma.Context) {
				defer func() { <-places }()
				_, w := humago.Unwrap(hctx)
				follow(hctx.Context(), g, in.ID, sse.Open(w))
			}}, nil
		})
}

// follow sends a registration as often as it changes, and a comment where nothing has. It returns when it has ended or is gone,
// or when nobody reads.
func follow(ctx context.Context, g Registrations, id string, stream *sse.Stream) {
	var last []byte
	for changed := range g.RegistrationChanges(ctx) {
		if changed != "" && changed != id {
			continue
		}
		r, err := g.Registration(ctx, id)
		if err != nil {
			return
		}
		text, err := json.Marshal(r) // its code is not in it
		if err != nil {
			return
		}
		if bytes.Equal(text, last) {
			err = stream.Comment("")
		} else {
			err = stream.Event("registration", text)
		}
		if last = text; err != nil || r.State.Ended() {
			return
		}
	}
}

// Follow reads such a stream, and calls seen with each registration until seen returns false. A stream that ended before returns
// io.ErrUnexpectedEOF: ask again.
func Follow(stream io.Reader, seen func(mfpgate.Registration) bool) error {
	for event, err := range sse.Read(stream, maxEvent) {
		if err != nil {
			return err
		}
		var r mfpgate.Registration
		if err := json.Unmarshal([]byte(event.Data), &r); err != nil {
			return fmt.Errorf("the daemon's event: %w", err)
		}
		if !seen(r) {
			return nil
		}
	}
	return io.ErrUnexpectedEOF
}
