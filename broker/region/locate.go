package region

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/mfpgate/mfpgate"
)

// answer is what one region said of a device.
type answer struct {
	region string
	found  mfpgate.Registrant
	err    error
}

// locate finds the region that holds a device: that of its market, if it says so, else whichever does. silent are those that did
// not answer, or not sensibly.
func (s *Saga) locate(ctx context.Context, d mfpgate.Device) (best mfpgate.Registrant, silent []string, err error) {
	names := s.Regions.Names()
	var answers []answer
	if slices.Contains(names, d.Market) {
		a := s.find(ctx, d.Market, d)
		if a.err == nil && a.found.Region == d.Market && a.found.State == mfpgate.HoldingActive {
			return a.found, nil, nil
		}
		answers = append(answers, a)
		names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == d.Market })
	}
	rest := make([]answer, len(names))
	var asking sync.WaitGroup
	for i, name := range names {
		asking.Go(func() { rest[i] = s.find(ctx, name, d) })
	}
	asking.Wait()
	var elsewhere *mfpgate.Registrant // a region that is no peer
	for _, a := range append(answers, rest...) {
		switch {
		case errors.Is(a.err, ErrNoHolding):
		case a.err != nil:
			silent = append(silent, a.region)
		case a.found.Region != a.region:
			if _, peer := s.Regions.Management(a.found.Region); !peer && elsewhere == nil {
				elsewhere = &a.found
			}
		case worth(a.found.State) > 0:
			best = better(best, a.found)
		}
	}
	if best.State != mfpgate.HoldingActive && elsewhere != nil {
		return *elsewhere, silent, nil
	}
	switch {
	case best.MFP != "":
		return best, silent, nil
	case len(silent) > 0:
		return best, nil, refuse(RegionUnreached, "it is not known which region holds the device, as these do not answer: %q; try again later", silent)
	}
	return best, nil, refuse(UnknownHere, "no region knows a device of model %.64q with serial number %.64q: id unknown here", d.Model, d.Serial)
}

// worth orders states by how sure a region is that it holds a device. 0: it does not.
func worth(s mfpgate.HoldingState) int {
	return 1 + slices.Index([]mfpgate.HoldingState{mfpgate.HoldingForeign, mfpgate.HoldingPrepared, mfpgate.HoldingDraining, mfpgate.HoldingActive}, s)
}

func better(a, b mfpgate.Registrant) mfpgate.Registrant {
	if cmp.Or(cmp.Compare(worth(a.State), worth(b.State)), cmp.Compare(a.Epoch, b.Epoch)) < 0 {
		return b
	}
	return a
}

// find asks one region.
func (s *Saga) find(ctx context.Context, region string, d mfpgate.Device) answer {
	m, err := s.managers(region)
	if err != nil {
		return answer{region: region, err: err}
	}
	r, err := m.Find(ctx, d.Model, d.Serial)
	if err != nil {
		return answer{region: region, err: fmt.Errorf("region %s: %w", region, err)}
	}
	if err := plausible(r, d); err != nil {
		return answer{region: region, err: fmt.Errorf("region %s: %w", region, err)}
	}
	return answer{region: region, found: r}
}

// plausible bounds what a region says of a device.
func plausible(r mfpgate.Registrant, d mfpgate.Device) error {
	if r.Model != d.Model || r.Serial != d.Serial {
		return lied("asked for %q %q, it names %.64q %.64q", d.Model, d.Serial, r.Model, r.Serial)
	}
	if !plain(r.MFP, maxName) || !plain(r.Region, 8) || worth(r.State) > 0 && !plain(r.Registration, maxName) || r.Epoch >= maxEpoch {
		return lied("it names no device, region, registration or epoch that can be one")
	}
	var names []string
	for _, service := range r.Services {
		names = append(names, service.ID)
		for _, child := range service.Children {
			names = append(names, service.ID+"/"+child)
		}
	}
	for _, data := range r.Data {
		names = append(names, data.Class)
	}
	bytes := 0
	for _, name := range names {
		if bytes += len(name); !plain(name, 2*maxName) {
			return lied("it names a service, a child or a class of data that cannot be one")
		}
	}
	if len(names) > maxPlanned || bytes > maxPlannedBytes {
		return refuse(TooLarge, "it names more than %d services, children and classes of data, with more than %d bytes", maxPlanned, maxPlannedBytes)
	}
	return nil
}

// plain tells whether text can be a name: visible ASCII that JSON writes as it is, so that a record's size is that of its names.
func plain(text string, limit int) bool {
	return text != "" && len(text) <= limit && !strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`"\<>&`, c) })
}
