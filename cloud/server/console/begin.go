package console

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// proposalsKept is how many proposals the list, and the number beside its name, know of.
const proposalsKept = 50

// desk is what every page of a gateway's schedule begins with.
type desk struct {
	clock
	gateway  string
	contract api.Contract
}

// begin reads the contract, which says by what clock a schedule is read, and fills the page's frame.
func (c *Console) begin(r *http.Request, title, section string) (desk, frame, error) {
	d := desk{gateway: r.PathValue("gw")}
	var err error
	if d.contract, err = c.Schedule.Contract(r.Context(), d.gateway); err != nil {
		return d, frame{}, err
	}
	d.clock = clockOf(d.contract, c.Clock.Now())
	f := c.gatewayFrame(r, title, d.gateway)
	f.Section, f.Zone, f.Now = section, d.name(d.now), d.clock.at(d.now)
	return d, f, nil
}

// gatewayFrame is a frame with the numbers of the gateway's navigation. A page is worth more than they are: it is shown without
// those that cannot be read.
func (c *Console) gatewayFrame(r *http.Request, title, gateway string) frame {
	f := c.frame(r, title, gateway)
	open, pending, err := c.waiting(r.Context(), gateway)
	if err != nil {
		c.Failed(r, err)
	}
	f.Open, f.Pending = open, pending
	return f
}

// waiting counts what waits for an operator.
func (c *Console) waiting(ctx context.Context, gateway string) (open, pending string, err error) {
	warnings, err := c.Schedule.Warnings(ctx, gateway, api.WarningOpen)
	if err != nil {
		return "", "", fmt.Errorf("count the warnings: %w", err)
	}
	proposals, err := c.Schedule.Proposals(ctx, gateway, proposalsKept)
	if err != nil {
		return "", "", fmt.Errorf("count the proposals: %w", err)
	}
	n := 0
	for _, p := range proposals {
		if p.State == "pending" {
			n++
		}
	}
	return some(len(warnings)), some(n), nil
}

// some is a number, "" for none.
func some(n int) string {
	if n == 0 {
		return ""
	}
	return count(int64(n))
}

// plural is a number with its noun.
func plural(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(int64(n)) + " " + more
}

// pager says which part of a list a page shows.
type pager struct {
	First, Last, Total string
	Earlier, Later     string // addresses; "" for none
}

// paged cuts the page that a query's "page" names out of a list. All is false where nothing is left out.
func paged[T any](list []T, size int, path string, query url.Values) (part []T, p pager, all bool) {
	page, _ := strconv.Atoi(query.Get("page"))
	page = min(max(page, 1), max((len(list)+size-1)/size, 1))
	from, to := (page-1)*size, min(page*size, len(list))
	p = pager{First: count(int64(min(from+1, len(list)))), Last: count(int64(to)), Total: count(int64(len(list)))}
	address := func(n int) string {
		next := url.Values{}
		for name, values := range query {
			if name != "moved" {
				next[name] = values
			}
		}
		next.Set("page", strconv.Itoa(n))
		return path + "?" + next.Encode()
	}
	if page > 1 {
		p.Earlier = address(page - 1)
	}
	if to < len(list) {
		p.Later = address(page + 1)
	}
	return list[from:to], p, len(list) <= size
}
