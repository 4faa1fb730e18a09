package region_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/region"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

// TestAPeerMayNotNameTheHostsOfAnother: devices would be led to it, and gateways refuse a document in which a host is of two regions.
func TestAPeerMayNotNameTheHostsOfAnother(t *testing.T) {
	var asked atomic.Int32
	var theirs atomic.Pointer[[]string] // jp's management hosts
	of := servertest.Peers(t, servertest.Pairing{Connect: func(p region.Peering) (*region.Link, error) {
		link, err := connect(p)
		if err != nil || p.Region != "us" {
			return link, err
		}
		link.Hosts = func(context.Context) ([]mfpgate.RegionHosts, error) {
			asked.Add(1)
			jp := theirs.Load()
			if jp == nil {
				return nil, context.DeadlineExceeded
			}
			return []mfpgate.RegionHosts{{Region: "us", Management: []string{"mgmt.us.example:443"}, Services: []string{strings.ToUpper((*jp)[0])}}}, nil
		}
		return link, nil
	}})
	w := &world{t: t, jp: of["jp"], us: of["us"]}
	regions := func() (doc api.SignedRegions) {
		w.call(w.jp.HTTP(t), http.MethodGet, w.jp.URL+api.RegionsPath, "", nil).into(t, http.StatusOK, &doc)
		return doc
	}
	own := regions().Items
	theirs.Store(&own[0].Management)
	before := asked.Load()
	w.until("us has been asked again", func() bool { return asked.Load() > before+1 }) // the answer before was judged
	if diff := cmp.Diff(own, regions().Items); diff != "" {
		t.Errorf("jp tells gateways (-want +got):\n%s", diff)
	}
}
