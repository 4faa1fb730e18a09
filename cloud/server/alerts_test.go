package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

func alert(n int, device, code string, cleared bool) api.AlertItem {
	return api.AlertItem{Sequence: uint64(n), Alert: api.Alert{
		AlertID: fmt.Sprint("alt_", n), DeviceID: device, At: noon.Add(time.Duration(n) * time.Second), Code: code, Severity: "error", Cleared: cleared,
	}}
}

func (c caller) tell(t *testing.T, stream string, items ...api.AlertItem) {
	t.Helper()
	decode[api.Accepted](t, c.post(t, gwPath+"/alerts", fmt.Sprint(stream, items[0].Sequence), api.AlertBatch{Stream: stream, Items: items}))
}

// alerts is the ids of a list, read in pages of limit.
func (c caller) alerts(t *testing.T, query string, limit int) (ids []string) {
	t.Helper()
	for next := ""; ; {
		path := fmt.Sprintf("%s/alerts?limit=%d&cursor=%s&%s", gwPath, limit, url.QueryEscape(next), query)
		got := c.do(t, http.MethodGet, path, nil)
		page := decode[api.Page[api.StoredAlert]](t, got)
		if len(page.Items) > limit {
			t.Errorf("a page of %d, asked for %d", len(page.Items), limit)
		}
		if again := c.do(t, http.MethodGet, path, nil, "If-None-Match", got.header.Get("ETag")); again.status != 304 {
			t.Errorf("unchanged: got %d, want 304", again.status)
		}
		for _, a := range page.Items {
			ids = append(ids, a.AlertID)
		}
		if next = page.NextCursor; next == "" {
			return ids
		}
	}
}

func TestOpenAlertsAreThoseThatHaveNotEnded(t *testing.T) {
	r := servertest.Start(t)
	gw := caller{r, r.HTTP(t), r.Gateway(t, "osaka-1")}
	gw.tell(t, "a", alert(1, "dev_1", "media-jam", false), alert(2, "dev_2", "offline", false), alert(3, "dev_1", "cover-open", false),
		alert(4, "dev_1", "media-jam", true), alert(5, "dev_1", "counter-reset", false), alert(6, "dev_3", "offline", false),
		alert(7, "dev_3", "offline", true), alert(8, "dev_1", "toner-low", false), alert(9, "dev_2", "offline", false))
	gw.tell(t, "a", alert(8, "dev_1", "toner-low", false), alert(9, "dev_2", "offline", false)) // again: once
	for limit := 1; limit < 5; limit++ {
		if diff := cmp.Diff([]string{"alt_3", "alt_8", "alt_9"}, gw.alerts(t, "open=true", limit)); diff != "" {
			t.Errorf("open, %d a page: %s", limit, diff)
		}
		want := []string{"alt_1", "alt_2", "alt_3", "alt_4", "alt_5", "alt_6", "alt_7", "alt_8", "alt_9"}
		if diff := cmp.Diff(want, gw.alerts(t, "", limit)); diff != "" {
			t.Errorf("all, %d a page: %s", limit, diff)
		}
	}
	for _, bad := range []string{"a/b/c", "/", "\x00", "dev_9/alt_1"} {
		got := gw.do(t, http.MethodGet, gwPath+"/alerts?open=true&cursor="+url.QueryEscape(encode(bad)), nil)
		if got.status >= 500 {
			t.Errorf("a cursor of the caller's own, %q: %d", bad, got.status)
		}
	}
}

func TestAlertsAreBounded(t *testing.T) {
	r := servertest.Start(t)
	gw := caller{r, r.HTTP(t), r.Gateway(t, "osaka-1")}
	gw.tell(t, "a", alert(1, "dev_old", "offline", false))
	for first := 2; first < 2202; first += 200 {
		items := make([]api.AlertItem, 200)
		for i := range items {
			items[i] = alert(first+i, fmt.Sprint("dev_", i%40), fmt.Sprint("code-", i%20), (first+i)%400 > 200)
		}
		gw.tell(t, "a", items...)
	}
	got := gw.alerts(t, "", 500)
	if len(got) != 2000 || got[0] != "alt_202" || got[1999] != "alt_2201" {
		t.Errorf("%d are kept, from %s", len(got), got[0])
	}
	open := gw.alerts(t, "open=true", 500)
	if open[len(open)-1] != "alt_1" {
		t.Errorf("a condition that goes on was forgotten with its alert: %v", open)
	}
}

func TestLargestOpenAlertsFitIntoTheStore(t *testing.T) {
	r := servertest.Start(t)
	gw := caller{r, r.HTTP(t), r.Gateway(t, "osaka-1")}
	var items []api.AlertItem
	var want []string
	for n := 1; n <= 20; n++ {
		a := alert(n, strings.Repeat("d", 64), fmt.Sprintf("%s%02d", strings.Repeat("c", 126), n), false)
		a.Alert.AlertID, a.Alert.Text = fmt.Sprintf("%s%02d", strings.Repeat("a", 62), n), strings.Repeat("\u2028", 512)
		items = append(items, a)
		if n > 4 { // sixteen conditions of one device are kept as open
			want = append(want, a.Alert.AlertID)
		}
	}
	gw.tell(t, "a", items...)
	if diff := cmp.Diff(want, gw.alerts(t, "open=true", 500)); diff != "" {
		t.Error(diff)
	}
}
