package region_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

// A gateway that is restarted leaves its long poll. That is no failure of the region.
func TestAnAbandonedPollIsNoFailure(t *testing.T) {
	w := open(t, servertest.Pairing{})
	at, err := url.Parse(w.jp.URL)
	servertest.Must(t, err)
	conn, err := tls.Dial("tcp", at.Host, &tls.Config{RootCAs: w.jp.Roots})
	servertest.Must(t, err)
	defer conn.Close()
	// net/http's client would have to be told when the request has left, which it does not tell.
	_, err = fmt.Fprintf(conn, "GET /v1/gateways/%s/moves?wait=60 HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", gateway, at.Host, w.token.Reveal())
	servertest.Must(t, err)
	servertest.Must(t, conn.CloseWrite())
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

// Changes of a device that is being moved wait: that is normal operation, and no line that wakes an operator.
func TestADrainedDeviceIsNoFailure(t *testing.T) {
	w := open(t, servertest.Pairing{})
	const mfp = "us-mfp-1"
	w.start(w.us, mfp, "US000001")
	peers, err := w.jp.Folder.Peers()
	servertest.Must(t, err)
	for _, step := range []mfpgate.MoveStep{mfpgate.StepUnlink, mfpgate.StepDrain} {
		o := mfpgate.MoveOrder{Move: "mov_1", Step: step, Epoch: 2, MFP: mfp, From: "us", To: "jp", Registration: "r1.jp.2.x"}
		w.call(w.us.HTTP(t), http.MethodPost, w.us.Services+api.HoldingsPath+"/"+mfp+":"+string(step), peers[0].Management, o).into(t, http.StatusOK, nil)
	}
	refused := w.device(w.us, mfp, http.MethodPut, api.ServiceDevices+"/"+mfp+"/data/jobs/a", []byte("x"))
	refused.refused(t, http.StatusServiceUnavailable, api.Draining)
	if refused.header.Get("Retry-After") == "" {
		t.Error("the device is not told when to come again")
	}
	var line string
	w.until("the answer is logged", func() bool {
		for _, l := range w.us.Log() {
			if strings.Contains(l, `"reason":"draining"`) {
				line = l
			}
		}
		return line != ""
	})
	if !strings.Contains(line, `"status":503`) || !strings.Contains(line, `"level":"info"`) {
		t.Errorf("the log has %s", line)
	}
}
