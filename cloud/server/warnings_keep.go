package server

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store"
)

// trimWarnings removes the closed warnings that ended first, so that with those that are about to be closed not too many are kept.
func (s *Server) trimWarnings(ctx context.Context, gateway string, closed []api.Warning, more int) error {
	ended := func(w api.Warning) time.Time {
		if w.ClosedAt == nil {
			return time.Time{}
		}
		return *w.ClosedAt
	}
	slices.SortFunc(closed, func(a, b api.Warning) int {
		return cmp.Or(ended(a).Compare(ended(b)), strings.Compare(a.BandID, b.BandID))
	})
	gone := closed[:min(len(closed), max(0, len(closed)+more-maxClosed))]
	for group := range slices.Chunk(gone, store.MaxUpdateKeys) {
		err := s.Store.Update(ctx, func(tx store.Tx) error {
			for _, w := range group {
				if err := tx.Delete(warningKey(gateway, w.BandID)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// shortened keeps a band within one record: of very many contributors those with the largest shares stay.
func shortened(b api.Band) api.Band {
	const most = 64
	if len(b.Contributors) > most {
		b.Contributors = slices.Clone(b.Contributors)
		slices.SortStableFunc(b.Contributors, func(x, y api.Contributor) int { return cmp.Compare(y.PeakShare, x.PeakShare) })
		b.Contributors = b.Contributors[:most]
	}
	b.Text = b.Text[:min(len(b.Text), 2048)]
	if c := b.Certificate; c != nil {
		short := *c
		short.Text = short.Text[:min(len(short.Text), 2048)]
		b.Certificate = &short
	}
	return b
}
