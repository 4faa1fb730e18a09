package devices_test

import (
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/tests/lan"
)

// A device that does not answer is offline with the next poll, says why and since when, and does nothing meanwhile.
func TestWhyADeviceIsAway(t *testing.T) {
	t.Parallel() // it waits for the network most of the time
	for _, c := range []struct {
		rule   string
		snmp   bool // it has an agent and no printer's program
		do     func(*testing.T, *site, *lan.Host, *lan.Printer)
		reason mfpgate.Reason
		undo   func(*testing.T, *site, *lan.Host, *lan.Printer)
	}{
		{rule: "its cable is pulled", reason: "no-route",
			do:   func(t *testing.T, _ *site, h *lan.Host, _ *lan.Printer) { h.Unplug(t) },
			undo: func(t *testing.T, _ *site, h *lan.Host, _ *lan.Printer) { h.Plug(t) }},
		{rule: "its power is off", reason: "no-route",
			do: func(t *testing.T, _ *site, h *lan.Host, _ *lan.Printer) { h.PowerOff(t) },
			undo: func(t *testing.T, _ *site, h *lan.Host, p *lan.Printer) {
				h.Plug(t)
				p.Restart(t, "")
			}},
		{rule: "its printing ends, and it says goodbye", reason: "refused",
			do:   func(t *testing.T, _ *site, _ *lan.Host, p *lan.Printer) { p.Stop(t) },
			undo: func(t *testing.T, _ *site, _ *lan.Host, p *lan.Printer) { p.Restart(t, "") }},
		{rule: "it hangs", reason: "no-answer",
			do:   func(t *testing.T, _ *site, _ *lan.Host, p *lan.Printer) { p.Freeze(t) },
			undo: func(t *testing.T, _ *site, _ *lan.Host, p *lan.Printer) { p.Thaw(t) }},
		{rule: "the community is wrong", snmp: true, reason: "snmp-silent",
			do: func(t *testing.T, s *site, _ *lan.Host, _ *lan.Printer) {
				s.gateway.Reload(t, relay+devicesHead+"  snmp: {ranges: [10.77.0.0/28], communities: [private]}\n")
			},
			undo: func(t *testing.T, s *site, _ *lan.Host, _ *lan.Printer) {
				s.gateway.Reload(t, relay+devicesHead+snmp)
			}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			l := lan.New(t, 2)
			h := l.Host(1)
			var p *lan.Printer
			config := relay + devicesHead + snmp
			if c.snmp {
				h.SNMP(t, console)
			} else {
				p, config = h.Printer(t, copier), relay+devicesHead+dnssd
			}
			s := startOn(t, l, config)
			before := s.await(t, "it is found", online("E52645", h))
			done := s.byNextPoll(t, "it is asked", func() {}, func(d control.DeviceDetail) bool {
				return d.Reading != nil && d.Reading.Status != nil && d.Reading.Status.State == mfpgate.PrinterIdle
			})
			s.byNextPoll(t, c.rule+": "+string(c.reason), func() { c.do(t, s, h, p) }, offline(c.reason))
			away := s.detail(t, before.ID)
			truthful(t, away, done)
			again := s.polls(t)
			s.await(t, "it is asked again", func(mfpgate.Device) bool { return s.polls(t) > again })
			if still := s.detail(t, before.ID); !still.Since.Equal(away.Since) || !offline(c.reason)(still) {
				t.Errorf("it is %s, %s since %v, and was so since %v", still.State, still.Reason, still.Since, away.Since)
			}
			c.undo(t, s, h, p)
			back := s.await(t, "it is back", now(before.ID, mfpgate.DeviceOnline))
			if !back.Since.After(away.Since) || back.Reason != "" {
				t.Errorf("it is back since %v with reason %q, and was away since %v", back.Since, back.Reason, away.Since)
			}
		})
	}
}
