package usb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/describe"
)

// The pauses between two questions to a printer that starts.
const firstAsk, lastAsk = 5 * time.Second, time.Minute

// errNotIPP says that a printer answers over HTTP, and not over IPP.
var errNotIPP = errors.New("it answers over HTTP, and knows no IPP")

// describe asks the printer what is published of it, again and again while it starts; once the site's network may know of its
// scanner, that, too. A web server without a printer ends the session: the printer is driven raw.
func (s *ippSession) describe(ctx context.Context) {
	about := s.about
	for pause := firstAsk; ; pause = min(2*pause, lastAsk) {
		said, err := describe.Printer(ctx, s.transport)
		if err == nil {
			said.Make, said.Model, said.CommandSet = about.Make, about.Model, about.CommandSet
			about = said
			break
		}
		if errors.Is(err, describe.ErrNotIPP) {
			s.hurt(fmt.Errorf("%w: %w", errNotIPP, err))
			return
		}
		if mfpgate.Wait(ctx, s.p.m.o.Clock, pause) != nil {
			return
		}
	}
	if s.endpoint == nil {
		return
	}
	s.endpoint.Describe(about)
	for pause := firstAsk; ; pause = min(2*pause, lastAsk) {
		select {
		case <-ctx.Done():
			return
		case <-s.p.m.isShared():
		}
		scanner, err := describe.Scanner(ctx, s.transport)
		if err == nil {
			about.Scanner = scanner
			s.endpoint.Describe(about)
			return
		}
		if mfpgate.Wait(ctx, s.p.m.o.Clock, pause) != nil {
			return
		}
	}
}
