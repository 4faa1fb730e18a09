package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mfpgate/mfpgate/cloud/api/sse"
)

// maxStreams is how many may follow things of one kind at once: each holds a connection.
const maxStreams = 64

// maxEvent bounds a line of a stream, in bytes: what is followed is far smaller.
const maxEvent = 1 << 20

// stream is of what one thing becomes. The gateway's changes come with heartbeats, so that a reader who has gone is noticed.
type stream[T any] struct {
	name, summary, path string // name is that of the events; path has {id}
	get                 func(ctx context.Context, id string) (T, error)
	changes             func(context.Context) iter.Seq[string] // ids; "" is any
	ended               func(T) bool
	problem             func(error) error
}

type streamIn struct {
	ID string `path:"id" maxLength:"64"`
}

func (s stream[T]) register(api huma.API) {
	places := make(chan struct{}, maxStreams)
	huma.Register(api, huma.Operation{OperationID: "follow-" + s.name, Method: http.MethodGet, Path: s.path, Summary: s.summary,
		Responses: map[string]*huma.Response{"200": {Description: "events named " + s.name + ", with its JSON as data",
			Content: map[string]*huma.MediaType{sse.ContentType: {Schema: &huma.Schema{Type: huma.TypeString}}}}}},
		func(ctx context.Context, in *streamIn) (*huma.StreamResponse, error) {
			select {
			case places <- struct{}{}:
			default:
				return nil, huma.Error503ServiceUnavailable(fmt.Sprintf("%d streams are open; ask for the %s itself instead", maxStreams, s.name))
			}
			if _, err := s.get(ctx, in.ID); err != nil {
				<-places
				return nil, s.problem(err)
			}
			return &huma.StreamResponse{Body: func(hctx huma.Context) {
				defer func() { <-places }()
				_, w := humago.Unwrap(hctx)
				s.follow(hctx.Context(), in.ID, sse.Open(w))
			}}, nil
		})
}

// follow sends a thing as often as it changes, and a comment where nothing has. It returns when that has ended or is gone, or when
// nobody reads.
func (s stream[T]) follow(ctx context.Context, id string, out *sse.Stream) {
	var last []byte
	for changed := range s.changes(ctx) {
		if changed != "" && changed != id {
			continue
		}
		now, err := s.get(ctx, id)
		if err != nil {
			return
		}
		text, err := json.Marshal(now)
		if err != nil {
			return
		}
		if bytes.Equal(text, last) {
			err = out.Comment("")
		} else {
			err = out.Event(s.name, text)
		}
		if last = text; err != nil || s.ended(now) {
			return
		}
	}
}

// Follow reads such a stream, and calls seen with each state until seen returns false. A stream that ended before returns
// io.ErrUnexpectedEOF: ask again.
func Follow[T any](stream io.Reader, seen func(T) bool) error {
	for event, err := range sse.Read(stream, maxEvent) {
		if err != nil {
			return err
		}
		var now T
		if err := json.Unmarshal([]byte(event.Data), &now); err != nil {
			return fmt.Errorf("the daemon's event: %w", err)
		}
		if !seen(now) {
			return nil
		}
	}
	return io.ErrUnexpectedEOF
}
