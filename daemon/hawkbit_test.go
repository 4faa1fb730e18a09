package daemon_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/hawkbit"
	"github.com/mfpgate/mfpgate/cloud/client/hawkbit/hawkbittest"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// TestAHawkbitsScheduleIsRepaired without any cloud: two assignments open at once where one device can be served; one is cancelled
// and held, and after that there is no overload.
func TestAHawkbitsScheduleIsRepaired(t *testing.T) {
	server := hawkbittest.Start(t, mfpgate.SystemClock{})
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	servertest.Must(t, os.WriteFile(password, []byte(hawkbittest.Password), 0o600))
	g := startIn(t, dir, "1", fmt.Sprintf(`devices: {static: [{address: 127.0.0.2, name: A}, {address: 127.0.0.3, name: B}]}
schedule:
  mode: auto
  background: [{name: everything-else, cron: "* * * * *", duration: 1m, concurrency: 49}]
  hawkbit: {url: %q, user: '%s', password: {file: %s}, targets: "attribute.gateway==g-1", device_attribute: deviceId}
`, server.URL, hawkbittest.User, password))
	defer g.stop(t)
	server.AddSet(1, "firmware 2.0")
	var devices struct{ Items []mfpgate.Device }
	g.control(t, "GET", "devices", "", &devices)
	open := time.Now().UTC().Truncate(time.Hour).Add(30 * time.Hour)
	window, err := hawkbit.OneShot(open, open.Add(4*time.Hour), time.UTC)
	servertest.Must(t, err)
	for _, d := range devices.Items {
		server.AddTarget(hawkbittest.Target{ID: "mfp-" + d.Name, Attributes: map[string]string{"gateway": "g-1", "deviceId": string(d.ID)}})
		server.Assign("mfp-"+d.Name, 1, hawkbit.Order{Type: "forced", Window: &window})
	}
	schedule := func() (s control.Schedule) {
		g.control(t, "GET", "schedule", "", &s)
		return s
	}
	var answer json.RawMessage
	reached(t, "one assignment is cancelled", func() bool {
		g.control(t, "POST", "schedule/propose", "", &answer) // a run now; in mode auto it applies what it finds
		return len(server.Writes()) > 0
	})
	if w := server.Writes()[0]; !strings.HasPrefix(w, "DELETE /rest/v1/targets/mfp-") {
		t.Errorf("hawkBit was told %s", w)
	}
	server.Confirm()
	reached(t, "it is held, and no overload is left", func() bool {
		g.control(t, "POST", "schedule/propose", "", &answer)
		return len(schedule().Bands) == 0
	})
	if w := server.Writes(); len(w) != 1 {
		t.Errorf("for one overload hawkBit was told %v", w)
	}
}
