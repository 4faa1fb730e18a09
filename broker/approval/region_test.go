package approval_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
)

// regions is the site region's cloud, as a broker asks it.
type regions struct {
	g     *gateway
	err   error
	slow  bool
	asked []string
}

func (r *regions) Enrol(ctx context.Context, id mfpgate.DeviceID, actor string) error {
	r.asked = append(r.asked, string(id)+" by "+actor)
	if r.slow {
		<-ctx.Done()
		return ctx.Err()
	}
	if r.err != nil {
		return r.err
	}
	r.g.change(func(c *mfpgate.PrintCandidate) { c.Here, c.Home = true, "us" })
	return nil
}

func foreign(t *testing.T, f func(t *testing.T, g *gateway, r *regions)) {
	t.Helper()
	bubble(t, func(t *testing.T, g *gateway) {
		r := &regions{g: g}
		g.regions = r
		g.change(func(c *mfpgate.PrintCandidate) { c.Market = "us" })
		g.start()
		f(t, g, r)
	})
}

// A user of a device that was made for another market does nothing more than any other: its region enters it, and the registration
// goes on to its end.
func TestADeviceOfAnotherMarketIsEnteredFirst(t *testing.T) {
	foreign(t, func(t *testing.T, g *gateway, r *regions) {
		first := g.ask("d1", user)
		if !strings.Contains(first.Advice, "region us") || !strings.Contains(first.Advice, "mfpgate moves plan d1") {
			t.Errorf("a move is not offered: %q", first.Advice)
		}
		g.pass(time.Second)
		g.office.Decide(user, true)
		g.pass(20 * time.Second)
		ended := g.want(first.ID, mfpgate.RegistrationRegistered, "", 1)
		if ended.Advice != first.Advice {
			t.Errorf("the advice has gone: %q", ended.Advice)
		}
		second := g.ask("d1", "sato@example.com")
		if second.Advice != first.Advice {
			t.Errorf("of one that is entered: %q", second.Advice)
		}
		if diff := cmp.Diff([]string{"d1 by " + user}, r.asked); diff != "" {
			t.Errorf("it is asked once (-want +got):\n%s", diff)
		}
	})
}

func TestWhereNoRegionIsAsked(t *testing.T) {
	q := mfpgate.RegistrationRequest{Device: "d1", Service: "office", User: user}
	for _, c := range []struct {
		rule   string
		change func(*mfpgate.RegistrationRequest, *mfpgate.PrintCandidate)
		why    mfpgate.Reason
	}{
		{"a device of the site's market", func(_ *mfpgate.RegistrationRequest, c *mfpgate.PrintCandidate) { c.Market = "jp" }, ""},
		{"the site's market in capitals", func(_ *mfpgate.RegistrationRequest, c *mfpgate.PrintCandidate) { c.Market = "JP" }, ""},
		{"a market that nobody knows", func(_ *mfpgate.RegistrationRequest, c *mfpgate.PrintCandidate) { c.Market = "" }, ""},
		{"one that the region knows", func(_ *mfpgate.RegistrationRequest, c *mfpgate.PrintCandidate) { c.Here = true }, ""},
		{"a request that is refused anyway", func(q *mfpgate.RegistrationRequest, _ *mfpgate.PrintCandidate) { q.User = "nobody" }, approval.BadRequest},
	} {
		foreign(t, func(t *testing.T, g *gateway, r *regions) {
			q := q
			g.change(func(of *mfpgate.PrintCandidate) { c.change(&q, of) })
			made, _, err := g.Request(t.Context(), q, "a", "")
			if c.why == "" && (err != nil || made.Advice != "") {
				t.Errorf("%s: %v, %q", c.rule, err, made.Advice)
			} else if c.why != "" {
				refusal(t, c.rule, err, c.why)
			}
			if len(r.asked) > 0 {
				t.Errorf("%s: the region was asked", c.rule)
			}
		})
	}
}

func TestADeviceThatNoRegionTakesIsRefused(t *testing.T) {
	for _, c := range []struct {
		rule string
		fail func(*regions)
		says []string
	}{
		{"nobody knows it", func(r *regions) {
			r.err = &approval.Refusal{Reason: "id-unknown-here", Text: "id unknown here: have it registered in us first."}
		}, []string{"id unknown here: have it registered in us first."}},
		{"the cloud is away", func(r *regions) { r.err = errors.New("connection refused") }, []string{"id unknown here", "Ask again later", "connection refused"}},
		{"the cloud does not answer in time", func(r *regions) { r.slow = true }, []string{"id unknown here", "Ask again later"}},
	} {
		foreign(t, func(t *testing.T, g *gateway, r *regions) {
			c.fail(r)
			_, _, err := g.Request(t.Context(), mfpgate.RegistrationRequest{Device: "d1", Service: "office", User: user}, "a", "k")
			refusal(t, c.rule, err, approval.OtherRegion)
			for _, text := range c.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%s: it does not say %q: %v", c.rule, text, err)
				}
			}
			if open, err := g.List(t.Context()); err != nil || len(open) > 0 {
				t.Errorf("%s: %v %+v", c.rule, err, open)
			}
			r.err, r.slow = nil, false // the same request, when that has been mended
			if _, created, err := g.Request(t.Context(), mfpgate.RegistrationRequest{Device: "d1", Service: "office", User: user}, "a", "k"); err != nil || !created {
				t.Errorf("%s, and mended: %v", c.rule, err)
			}
		})
	}
}
