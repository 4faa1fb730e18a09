package mfp

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/cloud/api"
)

func TestATallyCountsWhatARequestCameTo(t *testing.T) {
	later := &Refusal{Status: http.StatusServiceUnavailable, Reason: api.Draining}
	broken := errors.New("broken")
	var c tally
	for _, try := range []struct {
		method, path string
		err          error
	}{
		{"POST", "/a", nil},
		{"POST", "/a", broken}, {"POST", "/a", nil}, // retried
		{"PUT", "/b/data/x/1", later}, {"PUT", "/b/data/x/1", nil}, // retried
		{"PUT", "/b/data/x/2", later}, {"PUT", "/b/data/x/2", later}, {"PUT", "/b/data/x/2", nil}, // late
		{"POST", "/c", broken}, {"POST", "/c", broken}, {"POST", "/c", nil}, // silent, and late
		{"GET", api.DirectivePath, &Refusal{Status: http.StatusNotFound}}, // there is none: an answer
		{"POST", "/a", &Refusal{Relay: true, Status: http.StatusForbidden, Detail: "gate; error=http_request_denied; details=region-moved"}},
		{"POST", "/a", &Refusal{Relay: true, Status: http.StatusForbidden, Detail: "gate; error=http_request_denied"}},
		{"POST", "/a", &Refusal{Status: http.StatusMisdirectedRequest, Reason: api.Moved}},
	} {
		c.note(try.method, try.path, try.err)
	}
	want := map[string]int{tallyAnswered: 2, tallyRetried: 2, tallyLate: 2, tallySilent: 1, tallyBlocked + "region-moved": 1, tallyRefused + "Forbidden": 1, tallyMoved: 1}
	if diff := cmp.Diff(want, c.event().Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}
