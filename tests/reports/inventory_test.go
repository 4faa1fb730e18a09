package reports_test

import (
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// TestTheCloudKnowsTheDevices: with what they are, through a lost answer, until they are forgotten, and whose they are.
func TestTheCloudKnowsTheDevices(t *testing.T) {
	s := newSite(t, 2)
	s.when(func(kind string, w http.ResponseWriter, forward func() func()) { // the region takes the first, and the answer is lost
		answer := forward()
		if kind == "PUT devices" && s.count(kind) == 1 {
			panic(http.ErrAbortHandler)
		}
		answer()
	})
	one := rig.Dir(t)
	first := rig.StartIn(t, one, s.config(t, one, "g-1", 2, "1s"))
	cloud := s.cloud(t, "g-1")
	rig.Until(t, "g-1 tells of both", func() bool {
		n := 0
		for _, d := range devices(t, cloud) {
			if d.Serial != "" && d.Model != "" && d.LastSeen != nil && d.MonitoringMode == "polling" && d.Market == "us" {
				n++
			}
		}
		return n == 2
	})

	two := rig.Dir(t)
	second := rig.StartIn(t, two, s.config(t, two, "g-2", 2, "1s"))
	conflict := func() string {
		for _, d := range known(t, second) {
			code, out, stderr := rig.Run(t, "devices", "show", string(d.ID), "--socket", second.Socket)
			if code != 0 {
				t.Fatal(stderr)
			}
			if d.Serial == "SER0001" {
				return out
			}
		}
		return ""
	}
	rig.Until(t, "g-2 is told whose they are", func() bool { return strings.Contains(conflict(), "gateway g-1 tells of this device") })
	first.Reload(t, s.config(t, one, "g-1", 1, "1s")) // without the second printer
	code, _, stderr := 0, "", ""
	rig.Until(t, "g-1 forgets it, and the region with it", func() bool {
		if d, there := known(t, first)["SER0001"]; there {
			code, _, stderr = rig.Run(t, "devices", "forget", string(d.ID), "--socket", first.Socket)
		}
		return len(devices(t, cloud)) == 1
	})
	if code != 0 {
		t.Fatal(stderr)
	}
	second.Reload(t, s.config(t, two, "g-2", 2, "1s"))
	rig.Until(t, "g-2 has it", func() bool {
		list := devices(t, s.cloud(t, "g-2"))
		return slices.ContainsFunc(list, func(d api.DeviceEntry) bool { return d.Serial == "SER0001" }) && !strings.Contains(conflict(), "tells of this device")
	})

	first.Reload(t, s.config(t, one, "g-3", 1, "1s"))
	first.Signal(t, syscall.SIGHUP)
	rig.Until(t, "another cloud's word about the first is the old one", func() bool {
		d, there := known(t, first)["SER0000"]
		var detail struct{ Conflict string }
		first.API(t, "devices/"+string(d.ID), &detail)
		return there && strings.Contains(detail.Conflict, "g-1")
	})
}

// TestARefusedTokenIsSaid, and what waits is sent when the token is good again.
func TestARefusedTokenIsSaid(t *testing.T) {
	s := newSite(t, 1)
	s.when(func(_ string, w http.ResponseWriter, _ func() func()) { w.WriteHeader(http.StatusUnauthorized) })
	dir := rig.Dir(t)
	config := s.config(t, dir, "g-1", 1, "1s")
	g := rig.StartIn(t, dir, config)
	rig.Until(t, "the refusal is said", func() bool {
		return strings.Contains(degraded(t, g, "cloud-refused"), "does not accept the token of gateway g-1")
	})
	if away := degraded(t, g, "cloud-away"); away != "" {
		t.Errorf("the cloud is said to be away: %s", away)
	}
	s.printers[0].SetReasons("media-empty-warning")
	s.when(nil)
	g.Reload(t, config)
	cloud := s.cloud(t, "g-1")
	rig.Until(t, "all is well", func() bool {
		return degraded(t, g, "cloud-refused") == "" && len(devices(t, cloud)) == 1 && len(alerts(t, cloud)) == 1
	})
}

// TestTheContractsIntervals are in force without a restart.
func TestTheContractsIntervals(t *testing.T) {
	s := newSite(t, 1)
	dir := rig.Dir(t)
	config := s.config(t, dir, "g-1", 1, "1h")
	g := rig.StartIn(t, dir, config)
	rig.Until(t, "the printer was asked", func() bool { return len(known(t, g)) == 1 && known(t, g)["SER0000"].State == mfpgate.DeviceOnline })
	asked := s.printers[0].Stats().IPP
	servertest.Must(t, s.region.Folder.ChangeContract("g-1", func(c *api.Contract) {
		p := api.DefaultPolling()
		p.Status = api.Duration(10 * time.Second)
		c.Polling = &p
	}))
	g.Reload(t, config) // asks for the contract now, and not within five minutes
	rig.Until(t, "it is asked again, an hour early", func() bool { return s.printers[0].Stats().IPP > asked })
}
