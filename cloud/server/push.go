package server

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/api/sse"
)

// push keeps a channel to a device open, in the format of server-sent events. At each beat the device's offer is looked
// up anew, and told when it is another than the last: an operator's new package reaches the device within one beat.
func (s *Server) push(ctx context.Context, in *struct{ MFPPath }) (*huma.StreamResponse, error) {
	select {
	case <-s.ending:
		return nil, refuse(http.StatusServiceUnavailable, ReasonEnding, "the region stops; connect again").with("Retry-After", "5")
	default:
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		_, w := humago.Unwrap(hctx)
		if err := s.beat(ctx, sse.Open(w), in.MFP); err != nil {
			callOf(ctx).cause = err
		}
	}}, nil
}

// beat returns nil when the device or the server ends the channel.
func (s *Server) beat(ctx context.Context, out *sse.Stream, id string) error {
	timer := s.Clock.NewTimer(s.PushInterval)
	defer timer.Stop()
	told := ""
	for sign := "open"; ; sign = "beat" {
		send := func() error { return out.Comment(sign) }
		next, err := s.offerFor(ctx, id)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if next.name != "" && next.name != told {
			data, err := json.Marshal(next.pack)
			if err != nil {
				return err
			}
			send = func() error { return out.Event(api.PushOffer, data) }
		}
		told = next.name
		if send() != nil {
			return nil // the device has gone
		}
		timer.Reset(s.PushInterval)
		select {
		case <-ctx.Done():
			return nil
		case <-s.ending:
			_ = out.Event(api.PushBye, []byte("{}")) // if it is lost, the end of the stream says the same
			return nil
		case <-timer.C():
		}
	}
}

// offered is what waits for a device: what a check-in would answer, and a name that is another one whenever the answer is.
type offered struct {
	name string // "": nothing
	pack *api.Package
}

func (s *Server) offerFor(ctx context.Context, id string) (offered, error) {
	r, there, err := one[mfpRecord](ctx, s.Store, mfpKey(id))
	if err != nil || !there {
		return offered{}, err
	}
	target, err := s.target(r.MFP.Model)
	if err != nil {
		return offered{}, err
	}
	w, err := s.workOf(ctx, r.MFP.Model, r.MFP.Serial)
	if err != nil {
		return offered{}, err
	}
	if d := w.planned; d != nil {
		return offered{d.DeliveryID + "/" + string(d.Version), &d.Package}, nil
	}
	if p := w.alone(offer(r.MFP, target)); p != nil {
		return offered{p.PackageID, p}, nil
	}
	return offered{}, nil
}
