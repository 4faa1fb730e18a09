package region_test

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

// A gateway that is restarted leaves its long poll. That is no failure of the region.
func TestAnAbandonedPollIsNoFailure(t *testing.T) {
	w := open(t, servertest.Pairing{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sent := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { cancel() }})
	req, err := http.NewRequestWithContext(sent, http.MethodGet, w.jp.URL+"/v1/gateways/"+gateway+"/moves?wait=60", nil)
	servertest.Must(t, err)
	req.Header.Set("Authorization", "Bearer "+w.token.Reveal())
	if resp, err := w.jp.HTTP(t).Do(req); err == nil {
		_ = resp.Body.Close()
		t.Fatal("the poll is answered")
	}
	var line string
	w.until("the region knows that the caller has gone", func() bool {
		for _, l := range w.jp.Log() {
			if strings.Contains(l, "caller-gone") {
				line = l
			}
		}
		return line != ""
	})
	if !strings.Contains(line, `"status":408`) || strings.Contains(line, `"level":"error"`) {
		t.Errorf("the log has %s", line)
	}
}
