package portaltest

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// Fleet is a busy gateway with n devices in all, Busy's seven first; those have details and readings of every kind.
func Fleet(n int) *Gateway {
	g := Busy()
	for i := range g.DevicesAre {
		d := &g.DevicesAre[i]
		d.MonitoringMode, d.Attachment, d.Home, d.Market = mfpgate.MonitoringProxy, mfpgate.AttachmentNetwork, "jp", "jp"
		if d.Model != "" {
			d.Serial = fmt.Sprintf("3081RC%05d", 10200+i*37)
			d.Firmware = "1.02.3"
		}
		d.Location, d.LastSeen = []string{"2F east, beside the lift", "3F design", Hostile, "Reception", "", "", "5F 西"}[i], ago(time.Duration(i*i*7)*time.Minute)
		if d.State == mfpgate.DeviceKnown {
			d.LastSeen = time.Time{}
		}
		g.DetailsAre[d.ID] = control.DeviceDetail{Identity: mfpgate.Identity{Make: d.Make, Model: d.Model, Serial: d.Serial}}
	}
	g.DevicesAre[1].Reason = "snmp-silent"
	g.DevicesAre[3].Reason, g.DevicesAre[3].MonitoringMode = "no-answer", mfpgate.MonitoringPolling
	g.copier()
	g.ReadingsAre["dev_2"] = mfpgate.Reading{At: ago(time.Minute), Supplies: []mfpgate.Supply{
		toner("1", "black", 100, 100), toner("2", "cyan", 62, 100), toner("3", "magenta", 31, 100), toner("4", "yellow", 77, 100),
		{Index: "5", Name: "Waste Toner Bottle", Type: "wasteToner", Receives: true, Unit: "percent", Level: 93, Max: 100}}}
	g.ReadingsAre["dev_3"] = mfpgate.Reading{At: ago(time.Minute), Status: &mfpgate.PrinterStatus{State: mfpgate.PrinterStopped, Reasons: []string{Hostile}, Message: Hostile},
		Supplies: []mfpgate.Supply{{Index: "1", Name: Hostile, Type: Hostile, Color: Hostile, Unit: Hostile, Level: 4, Max: 10}},
		Counters: []mfpgate.Counter{{Name: Hostile, Value: 1}}, Firmware: Hostile}
	hostile := g.DetailsAre["dev_3"]
	hostile.Conflict, hostile.NameGiven = Hostile, Hostile
	hostile.Identity = mfpgate.Identity{UUID: Hostile, Make: Hostile, Model: Hostile, Serial: Hostile, SysObjectID: Hostile, MAC: Hostile, USB: Hostile}
	hostile.Sightings = []control.SightingDetail{{Sighting: mfpgate.Sighting{ID: mfpgate.SightingID("dns-sd:" + Hostile), At: Now, Name: Hostile, Location: Hostile,
		Firmware: Hostile, Endpoints: []mfpgate.Endpoint{{Protocol: Hostile, Host: Hostile, Path: Hostile}}}}, {Sighting: mfpgate.Sighting{ID: Hostile}}}
	hostile.Alerts = []mfpgate.Alert{{ID: Hostile, At: Now, Code: Hostile, Severity: Hostile, Text: Hostile}}
	g.DetailsAre["dev_3"] = hostile
	g.ReadingsAre["dev_4"] = mfpgate.Reading{At: ago(time.Hour), Supplies: []mfpgate.Supply{
		{Index: "1", Name: "Black Cartridge", Type: "tonerCartridge", Color: "black", Level: mfpgate.LevelUnknown, Max: mfpgate.LevelUnknown}}}
	away := g.DetailsAre["dev_4"]
	away.ReadAt = control.ReadTimes{Status: ago(63 * time.Minute), Supplies: ago(65 * time.Minute)}
	g.DetailsAre["dev_4"] = away
	g.ReadingsAre["dev_7"] = mfpgate.Reading{At: ago(time.Minute), Supplies: []mfpgate.Supply{
		{Index: "1", Name: "Black Ink", Type: "ink", Color: "#101010", Level: mfpgate.LevelSome, Max: 100},
		toner("2", "cyan", 48, 100), toner("3", "magenta", 9, 100), toner("4", "yellow", 0, 100)}}
	for i := len(g.DevicesAre); i < n; i++ {
		d := mfpgate.Device{ID: mfpgate.DeviceID(fmt.Sprintf("dev_g%05d", i)), Name: fmt.Sprintf("Branch %03d printer %d", i/9, i%9+1), Make: "Kyocera",
			Model: fmt.Sprintf("TASKalfa %d54ci", i%5+2), Serial: fmt.Sprintf("V8L%07d", i*7919), Address: fmt.Sprintf("10.%d.%d.%d", 2+i/2500, i/250%10, i%250+1),
			Attachment: mfpgate.AttachmentNetwork, State: mfpgate.DeviceOnline, Since: ago(time.Duration(i) * time.Minute), MonitoringMode: mfpgate.MonitoringPolling,
			Location: fmt.Sprintf("Branch %03d", i/9), LastSeen: ago(time.Duration(i) * time.Second)}
		if i%17 == 0 {
			d.State, d.Reason = mfpgate.DeviceOffline, "no-answer"
		}
		g.DevicesAre = append(g.DevicesAre, d)
		g.ReadingsAre[d.ID] = mfpgate.Reading{At: ago(time.Duration(i) * time.Second), Supplies: []mfpgate.Supply{toner("1", "black", int64(i*13%101), 100),
			toner("2", "cyan", int64(i*29%101), 100), toner("3", "magenta", int64(i*31%101), 100), toner("4", "yellow", int64(i*37%101), 100)}}
	}
	return g
}

func toner(index, color string, level, most int64) mfpgate.Supply {
	return mfpgate.Supply{Index: index, Name: color + " toner", Type: "toner", Color: color, Unit: "percent", Level: level, Max: most}
}

// copier gives dev_1 one of everything.
func (g *Gateway) copier() {
	at := func(address string) netip.AddrPort { return netip.MustParseAddrPort(address) }
	who := mfpgate.Identity{UUID: "4509a320-00a0-008f-00b6-002673123456", Make: "Ricoh", Model: "IM C4510", Serial: "3081RC10200",
		SysObjectID: "1.3.6.1.4.1.367.1.1", MAC: "00:26:73:12:34:56"}
	g.DevicesAre[0].LastSeen, g.DevicesAre[0].MonitoringMode = ago(8*time.Second), mfpgate.MonitoringPolling
	g.DetailsAre["dev_1"] = control.DeviceDetail{NameGiven: "2F copier", Identity: who,
		Conflict: "gateway kobe-1 reports this device, too; take it out of the ranges of one of them",
		Sightings: []control.SightingDetail{
			{Sighting: mfpgate.Sighting{ID: "dns-sd:RICOH IM C4510 [123456]._ipp._tcp.local", At: ago(40 * time.Second), Name: "RICOH IM C4510 [123456]", Location: "2F east",
				Identity: mfpgate.Identity{UUID: who.UUID, Make: who.Make, Model: who.Model}, Answered: true, Endpoints: []mfpgate.Endpoint{
					{Protocol: mfpgate.ProtocolIPP, Address: at("10.1.0.9:631"), Host: "RNP002673123456.local", Path: "ipp/print"},
					{Protocol: mfpgate.ProtocolIPPS, Address: at("[fe80::226:73ff:fe12:3456%eth0]:443"), Host: "RNP002673123456.local", Path: "ipp/print"}}}},
			{Sighting: mfpgate.Sighting{ID: "snmp:10.1.0.9", At: ago(8 * time.Second), Name: "RNP002673123456", Location: "2F east, beside the lift", Identity: who,
				Answered: true, Endpoints: []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolSNMP, Address: at("10.1.0.9:161")}}}},
			{Sighting: mfpgate.Sighting{ID: "static:2F copier", At: ago(9 * 24 * time.Hour)}, Pinned: true},
			{Sighting: mfpgate.Sighting{ID: "usb:1-2.4", At: ago(3 * time.Hour), Gone: true, Identity: mfpgate.Identity{USB: "05ca:0407:3081RC10200", Serial: who.Serial}}, Pinned: true},
		},
		ReadAt: control.ReadTimes{Status: ago(8 * time.Second), Supplies: ago(6 * time.Minute), Counters: ago(2 * time.Hour)},
		Alerts: []mfpgate.Alert{
			{ID: "alt_3", Device: "dev_1", At: ago(2 * time.Minute), Code: "toner-low", Severity: mfpgate.AlertWarning, Text: "Toner is running low: cyan"},
			{ID: "alt_2", Device: "dev_1", At: ago(26 * time.Hour), Code: "media-jam", Severity: mfpgate.AlertError, Cleared: true},
			{ID: "alt_1", Device: "dev_1", At: ago(26*time.Hour + 3*time.Minute), Code: "media-jam", Severity: mfpgate.AlertError, Text: "Paper jam (A)"},
		}}
	g.ReadingsAre["dev_1"] = mfpgate.Reading{At: ago(8 * time.Second), Firmware: "1.02.3",
		Status: &mfpgate.PrinterStatus{State: mfpgate.PrinterProcessing, Reasons: []string{"media-low-report", "toner-low-warning"}, Message: "Printing…"},
		Supplies: []mfpgate.Supply{toner("1", "black", 740, 1000), toner("2", "cyan", 4, 100), toner("3", "magenta", 57, 100), toner("4", "yellow", 88, 100),
			{Index: "5", Name: "Waste Toner Bottle", Type: "wasteToner", Receives: true, Unit: "percent", Level: 41, Max: 100},
			{Index: "6", Name: "Drum Unit", Type: "opc", Color: "black", Unit: "impressions", Level: 81_000, Max: 120_000},
			{Index: "7", Name: "Fusing Unit", Type: "fuser", Level: mfpgate.LevelSome, Max: mfpgate.LevelUnknown},
			{Index: "8", Name: "Staples", Type: "staples", Level: mfpgate.LevelUnknown, Max: mfpgate.LevelUnknown},
			{Index: "9", Name: "Light Cyan Ink", Type: "ink", Color: "#a0e0f0", Level: 30, Max: 100}},
		Counters: []mfpgate.Counter{{Name: "impressions", Value: 1_204_331}, {Name: "impressions-color", Value: 402_118}, {Name: "sheets", Value: 733_010}}}
}
