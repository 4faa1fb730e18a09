package snmp_test

import (
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	const (
		device  = "1.3.6.1.2.1.25.3.2.1.5.1"
		printer = "1.3.6.1.2.1.25.3.5.1.1.1"
		errors  = "1.3.6.1.2.1.25.3.5.1.2.1"
		marker  = "1.3.6.1.2.1.43.10.2.1.15.1.1"
	)
	for _, c := range []struct {
		rule string
		mib  mib
		want mfpgate.PrinterStatus
	}{
		{"idle", mib{device: 2, printer: 3, errors: ""}, mfpgate.PrinterStatus{State: mfpgate.PrinterIdle}},
		{"printing", mib{device: 2, printer: 4}, mfpgate.PrinterStatus{State: mfpgate.PrinterProcessing}},
		{"warming up", mib{device: 2, printer: 5}, mfpgate.PrinterStatus{State: mfpgate.PrinterProcessing}},
		{"standby", mib{device: 2, printer: 1}, mfpgate.PrinterStatus{State: mfpgate.PrinterIdle}},
		{"down counts more than idle", mib{device: 5, printer: 3, errors: "\x44"},
			mfpgate.PrinterStatus{State: mfpgate.PrinterStopped, Reasons: []string{"media-empty-error", "media-jam-error"}}},
		{"what stops others only warns while it prints", mib{device: 3, printer: 4, errors: "\x48"},
			mfpgate.PrinterStatus{State: mfpgate.PrinterProcessing, Reasons: []string{"door-open-warning", "media-empty-warning"}}},
		{"off-line", mib{device: 5, printer: 1, errors: "\x02"}, mfpgate.PrinterStatus{State: mfpgate.PrinterStopped, Reasons: []string{"paused-error"}}},
		{"on the way there", mib{device: 3, printer: 3, errors: "\x02"}, mfpgate.PrinterStatus{State: mfpgate.PrinterIdle, Reasons: []string{"moving-to-paused-warning"}}},
		{"two octets, every bit", mib{device: 5, printer: 1, errors: "\xff\xfe"}, mfpgate.PrinterStatus{State: mfpgate.PrinterStopped, Reasons: []string{
			"door-open-error", "input-tray-missing-error", "marker-supply-missing-error", "media-empty-error", "media-jam-error", "media-low-warning",
			"other-error", "output-area-almost-full-warning", "output-area-full-error", "output-tray-missing-error", "paused-error", "toner-empty-error", "toner-low-warning",
		}}},
		{"bits that have no meaning", mib{device: 2, printer: 3, errors: "\x00\x01\xff\xff\xff"}, mfpgate.PrinterStatus{State: mfpgate.PrinterIdle}},
		{"the marker tells where the printer does not", mib{printer: 2, marker: 4 + 8}, mfpgate.PrinterStatus{State: mfpgate.PrinterProcessing}},
		{"a broken marker", mib{marker: 3}, mfpgate.PrinterStatus{State: mfpgate.PrinterStopped}},
		{"nobody tells", mib{}, mfpgate.PrinterStatus{State: mfpgate.PrinterUnknown}},
		{"an alert and a bit that say the same are one reason, the graver", mib{device: 2, printer: 3, errors: "\x80",
			"1.3.6.1.2.1.43.18.1.1.2.1.1": 3, "1.3.6.1.2.1.43.18.1.1.7.1.1": 807}, mfpgate.PrinterStatus{State: mfpgate.PrinterIdle, Reasons: []string{"media-low-error"}}},
		{"an alert that is over, or unknown, is no reason", mib{device: 2, printer: 3,
			"1.3.6.1.2.1.43.18.1.1.2.1.1": 4, "1.3.6.1.2.1.43.18.1.1.7.1.1": 4,
			"1.3.6.1.2.1.43.18.1.1.2.1.2": 4, "1.3.6.1.2.1.43.18.1.1.7.1.2": 30001}, mfpgate.PrinterStatus{State: mfpgate.PrinterIdle}},
		{"the lines of the console", mib{device: 2, printer: 3, "1.3.6.1.2.1.43.16.5.1.2.1.1.1": "Load A4 ", "1.3.6.1.2.1.43.16.5.1.2.1.1.2": "in tray 2\r\n"},
			mfpgate.PrinterStatus{State: mfpgate.PrinterIdle, Message: "Load A4 in tray 2"}},
	} {
		m := without(copier("1"), "1.3.6.1.2.1.25.3.2.1.5", "1.3.6.1.2.1.25.3.5", "1.3.6.1.2.1.43.10", "1.3.6.1.2.1.43.16", "1.3.6.1.2.1.43.18")
		at := (&agent{mib: with(m, c.mib)}).start(t, "127.0.0.1:0")
		read, err := client(t, at.Port(), nil).Read(t.Context(), at.Addr(), mfpgate.PartStatus)
		if err != nil {
			t.Fatalf("%s: %v", c.rule, err)
		}
		if diff := gocmp.Diff(&c.want, read.Status); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.rule, diff)
		}
	}
}

func TestFirmwareAndMaker(t *testing.T) {
	for _, c := range []struct{ system, device, firmware, brand, model string }{
		{"Brother NC-8300w, Firmware Ver.1.15 ,MID 8C5-G09", "Brother HL-5470DW series", "1.15", "Brother", "HL-5470DW series"},
		{"Lexmark MS415dn version NH41.TL2.N407 kernel 3.0.0 All-N-1", "Lexmark MS415dn", "NH41.TL2.N407", "Lexmark", "MS415dn"},
		{"Xerox WorkCentre 7855;System Software 073.040.004.06100, Net Controller", "Xerox WorkCentre 7855", "073.040.004.06100", "Xerox", "WorkCentre 7855"},
		{"Dell 3130cn Color Laser; Net 11.74,ESS 200902042300,IOT 06.07.00", "Dell 3130cn Color Laser", "200902042300", "Dell", "3130cn Color Laser"},
		{"Samsung CLP-620 Series; OS 1.20.04.03 08-26-2009;Engine 1.01.11", "Samsung CLP-620 Series", "1.20.04.03", "Samsung", "CLP-620 Series"},
		{"RICOH Aficio MP C2050 1.17 / RICOH Network Printer C model / RICOH", "RICOH Aficio MP C2050", "1.17", "RICOH", "Aficio MP C2050"},
		{"OKI OkiLAN 8450e Rev.02.73 10/100BASE Ethernet PrintServer: Attached to C5600 Rev.D3.04 : (C)2004", "OKI C5600", "D3.04", "OKI", "C5600"},
		{"HP ETHERNET MULTI-ENVIRONMENT,ROM none,JETDIRECT,JD153,EEPROM JSI24090012,CIDATE 12/11/2019", "HP LaserJet MFP E52645", "JSI24090012", "HP", "LaserJet MFP E52645"},
		{"Canon iR-ADV C5235 /P", "Canon iR-ADV C5235 /P", "", "Canon", "iR-ADV C5235 /P"},
		{"KONICA MINOLTA bizhub C364", "KONICA MINOLTA bizhub C364", "", "KONICA MINOLTA", "bizhub C364"},
		{"Linux box 6.1.0", "Something 9", "", "", "Something 9"},
	} {
		m := with(copier("1"), mib{"1.3.6.1.2.1.1.1.0": c.system, "1.3.6.1.2.1.25.3.2.1.3.1": c.device})
		at := (&agent{mib: m}).start(t, "127.0.0.1:0")
		seen, err := client(t, at.Port(), nil).Identify(t.Context(), at.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff([]string{c.firmware, c.brand, c.model}, []string{seen.Firmware, seen.Identity.Make, seen.Identity.Model}); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.system, diff)
		}
	}
}
