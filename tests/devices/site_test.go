package devices_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/lan"
	"github.com/mfpgate/mfpgate/tests/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

// site is a network with a gateway on its host 0. The devices are the test's, on hosts from 1.
type site struct {
	*lan.LAN
	gateway *rig.Gateway
}

// devicesKeys let the gateway find what is there, and ask it often.
const devicesKeys = `devices:
  dns_sd: true
  snmp: {ranges: [10.77.0.0/24], communities: [` + lan.SNMPCommunity + `]}
  polling: {status: 2s}
`

// start runs a gateway on a network of so many hosts besides its own; more are further keys of devices, indented by two.
func start(t *testing.T, hosts int, more ...string) *site {
	t.Helper()
	s := &site{LAN: lan.New(t, hosts+1)}
	s.gateway = rig.Start(t, relay+devicesKeys+strings.Join(more, ""), s.Gateway().Inside(t))
	t.Cleanup(func() { // while the gateway runs
		if t.Failed() {
			t.Logf("the gateway knows: %s", s.describe(t))
		}
	})
	return s
}

const relay = "  listen: [\"10.77.0.1:3128\"]\n  clients: [10.77.0.0/24]\n  allow: [{host: update.vendor.example, ports: [443]}]\n"

// devices are what the gateway says now.
func (s *site) devices(t *testing.T) []mfpgate.Device {
	t.Helper()
	var list struct{ Items []mfpgate.Device }
	s.gateway.API(t, "devices", &list)
	return list.Items
}

// await waits until the gateway says that there is a device of which is holds, and returns it.
func (s *site) await(t *testing.T, what string, is func(mfpgate.Device) bool) (found mfpgate.Device) {
	t.Helper()
	rig.Until(t, what, func() bool {
		all := s.devices(t)
		i := slices.IndexFunc(all, is)
		if i >= 0 {
			found = all[i]
		}
		return i >= 0
	})
	return found
}

func (s *site) describe(t *testing.T) string {
	var b strings.Builder
	for _, d := range s.devices(t) {
		var all struct {
			Identity  mfpgate.Identity
			Sightings []mfpgate.Sighting
		}
		s.gateway.API(t, "devices/"+string(d.ID), &all)
		fmt.Fprintf(&b, "\n%+v\n  %+v", d, all.Identity)
		for _, sighting := range all.Sightings {
			fmt.Fprintf(&b, "\n  %+v", sighting)
		}
	}
	return b.String()
}

// online is a device of this model that answers at a host's address.
func online(model string, h *lan.Host) func(mfpgate.Device) bool {
	return func(d mfpgate.Device) bool {
		at := d.Address == h.V4.String() || d.Address == h.V6.String()
		return strings.Contains(d.Model, model) && d.State == mfpgate.DeviceOnline && at
	}
}

// now is the device of this id in this state.
func now(id mfpgate.DeviceID, state mfpgate.DeviceState) func(mfpgate.Device) bool {
	return func(d mfpgate.Device) bool { return d.ID == id && d.State == state }
}
