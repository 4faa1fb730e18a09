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

// TestWhatIsNoFailure is normal operation, and no line in the log that wakes an operator.
func TestWhatIsNoFailure(t *testing.T) {
	w := open(t, servertest.Pairing{})
	logged := func(t *testing.T, r *servertest.Region, status int, path string) {
		t.Helper()
		var line string
		w.until("the answer is logged", func() bool {
			for _, l := range r.Log() {
				if strings.Contains(l, path) {
					line = l
				}
			}
			return line != ""
		})
		if !strings.Contains(line, fmt.Sprintf(`"status":%d`, status)) || !strings.Contains(line, `"level":"info"`) {
			t.Errorf("the log has %s", line)
		}
	}
	t.Run("a gateway that is restarted leaves its long poll", func(t *testing.T) {
		at, err := url.Parse(w.jp.URL)
		servertest.Must(t, err)
		conn, err := tls.Dial("tcp", at.Host, &tls.Config{RootCAs: w.jp.Roots})
		servertest.Must(t, err)
		defer conn.Close()
		// net/http's client would have to be told when the request has left, which it does not tell.
		path := "/v1/gateways/" + gateway + "/moves"
		_, err = fmt.Fprintf(conn, "GET %s?wait=60 HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", path, at.Host, w.token.Reveal())
		servertest.Must(t, err)
		servertest.Must(t, conn.CloseWrite())
		logged(t, w.jp, http.StatusRequestTimeout, path)
	})
	t.Run("changes of a device that is being moved wait", func(t *testing.T) {
		const mfp = "us-mfp-1"
		w.start(w.us, mfp, "US000001")
		peers, err := w.jp.Folder.Peers()
		servertest.Must(t, err)
		for _, step := range []mfpgate.MoveStep{mfpgate.StepUnlink, mfpgate.StepDrain} {
			o := mfpgate.MoveOrder{Move: "mov_1", Step: step, Epoch: 2, MFP: mfp, From: "us", To: "jp", Registration: "r1.jp.2.x"}
			w.call(w.us.HTTP(t), http.MethodPost, w.us.Services+api.HoldingsPath+"/"+mfp+":"+string(step), peers[0].Management, o).into(t, http.StatusOK, nil)
		}
		path := api.ServiceDevices + "/" + mfp + "/data/jobs/a"
		refused := w.device(w.us, mfp, http.MethodPut, path, []byte("x"))
		refused.refused(t, http.StatusServiceUnavailable, api.Draining)
		if refused.header.Get("Retry-After") == "" {
			t.Error("the device is not told when to come again")
		}
		logged(t, w.us, http.StatusServiceUnavailable, path)
	})
}
