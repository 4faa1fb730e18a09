package portal

import (
	"fmt"
	"net/http"
	"strconv"
)

// pager leads through a list that is longer than a page.
type pager struct {
	Query string // of the address of what is shown
	Pages string
	Prev  string // addresses; "" for none
	Next  string

	from, to int // of the list
}

// pagerOf is the page that the address asks for, of a list at path with so many rows. A number that is none is the nearest that is.
func pagerOf(r *http.Request, path string, rows int) pager {
	last := max((rows+pageRows-1)/pageRows, 1)
	n, _ := strconv.Atoi(r.URL.Query().Get("page"))
	n = min(max(n, 1), last)
	out := pager{from: (n - 1) * pageRows, to: min(n*pageRows, rows)}
	if n > 1 {
		out.Query = fmt.Sprintf("?page=%d", n)
		out.Prev = fmt.Sprintf("%s?page=%d", path, n-1)
	}
	if n < last {
		out.Next = fmt.Sprintf("%s?page=%d", path, n+1)
	}
	if last > 1 {
		out.Pages = fmt.Sprintf("Page %s of %s", count(n), count(last))
	}
	return out
}
