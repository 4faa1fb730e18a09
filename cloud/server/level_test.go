package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/region"
	"github.com/mfpgate/mfpgate/telemetry"
)

// TestWhichAnswersAreErrors is in the package, as some of them are given only while a region stops, or is overrun.
func TestWhichAnswersAreErrors(t *testing.T) {
	for _, c := range []struct {
		status int
		reason mfpgate.Reason
		level  string
	}{
		{http.StatusServiceUnavailable, api.Draining, "info"},
		{http.StatusServiceUnavailable, ReasonThrottled, "info"},
		{http.StatusServiceUnavailable, ReasonEnding, "info"},
		{http.StatusServiceUnavailable, ReasonFull, "error"},
		{http.StatusServiceUnavailable, region.ReasonUnreached, "error"},
		{http.StatusServiceUnavailable, region.ReasonNoAddress, "error"},
		{http.StatusBadGateway, region.ReasonPeerRefused, "error"},
		{http.StatusInternalServerError, ReasonInternal, "error"},
		{http.StatusRequestTimeout, ReasonGone, "info"},
		{http.StatusNotFound, ReasonNoDevice, "info"},
	} {
		t.Run(string(c.reason), func(t *testing.T) {
			var log strings.Builder
			clock := mfpgate.SystemClock{}
			s := &Server{Options: Options{Clock: clock, Log: telemetry.NewLogger(&log, clock, new(telemetry.Level), false)}}
			s.canonical(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { writeProblem(w, r, refuse(c.status, c.reason, "")) })).
				ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
			if !strings.Contains(log.String(), `"level":"`+c.level+`"`) {
				t.Errorf("want %s: %s", c.level, log.String())
			}
		})
	}
}
