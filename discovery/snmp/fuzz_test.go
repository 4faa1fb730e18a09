package snmp_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gosnmp/gosnmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery/snmp"
)

// answerOf is an answer with every kind of value, as a seed.
func answerOf(f *testing.F, version gosnmp.SnmpVersion) []byte {
	raw, err := (&gosnmp.SnmpPacket{Version: version, Community: "public", PDUType: gosnmp.GetResponse, RequestID: 0x40000001, Variables: []gosnmp.SnmpPDU{
		variable("1.3.6.1.2.1.1.1.0", "Acme, Firmware Ver.1.15"), variable("1.3.6.1.4.1.2699.1.2.1.2.1.1.3.1", "MFG:Acme;MDL:Z;"),
		variable("1.3.6.1.2.1.25.3.5.1.2.1", "\xff\xfe"), variable("1.3.6.1.2.1.2.2.1.6.1", "\x02\x00\x00\x00\x00\x01"),
		variable("1.3.6.1.2.1.43.16.5.1.2.1.1.1", "Pr\xeat"), variable("1.3.6.1.2.1.43.18.1.1.7.1.1", 808),
		variable("1.3.6.1.2.1.43.11.1.1.6.1.1", "Toner\x00junk"), variable("1.3.6.1.4.1.2699.1.2.1.2.1.1.3.1", uint32(7)),
	}}).MarshalMsg()
	if err != nil {
		f.Fatal(err)
	}
	return raw
}

func FuzzAnswer(f *testing.F) {
	for _, version := range []gosnmp.SnmpVersion{gosnmp.Version1, gosnmp.Version2c} {
		raw := answerOf(f, version)
		f.Add(raw)
		f.Add(raw[:len(raw)/2])
	}
	report, err := (&gosnmp.SnmpPacket{Version: gosnmp.Version3, MsgFlags: gosnmp.Reportable, SecurityModel: gosnmp.UserSecurityModel,
		SecurityParameters: &gosnmp.UsmSecurityParameters{AuthoritativeEngineID: "\x80\x00\x1f\x88\x80"}, PDUType: gosnmp.Report, MsgID: 0x40000002,
		Variables: []gosnmp.SnmpPDU{variable("1.3.6.1.6.3.15.1.1.4.0", uint32(1))}}).MarshalMsg()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(report)
	f.Add([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, packet []byte) {
		texts, volume := snmp.Digest(packet)
		for _, s := range texts {
			if len(s) > snmp.MaxText || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("%q", s)
			}
		}
		if volume > 16*len(packet) { // a name of two octets may be ten characters
			t.Errorf("%d octets of %d", volume, len(packet))
		}
	})
}

func FuzzDetectedErrors(f *testing.F) {
	for _, seed := range []string{"", "\x80", "\x00\x02", "\xff\xff\xff\xff\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, state := range []mfpgate.PrinterState{mfpgate.PrinterIdle, mfpgate.PrinterStopped} {
			set := 0
			for _, octet := range raw[:min(len(raw), 2)] {
				for ; octet != 0; octet &= octet - 1 {
					set++
				}
			}
			if got := snmp.Reasons(raw, state); len(got) > set || set > 0 && len(got) == 0 && string(raw[:min(len(raw), 2)]) != "\x00\x01" {
				t.Errorf("%x: %v", raw, got)
			}
		}
	})
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{".1.3.10", ".1.3.9", true}, {".1.3.9", ".1.3.10", false}, {".1.3", ".1.3", false}, {".1.3.1", ".1.3", true},
		{".1.3", ".1.3.1", false}, {".1.3.4294967295", ".1.3.4294967294", true},
	} {
		if got := snmp.After(c.a, c.b); got != c.want {
			t.Errorf("%s after %s: %v", c.a, c.b, got)
		}
	}
	for oid, want := range map[string]string{".1.3.6.0": ".1.3.6", ".1.3.6.7": ".1.3.6.6"} {
		if got := snmp.Before(oid); got != want {
			t.Errorf("before %s: %s, want %s", oid, got, want)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	if got := snmp.Remember(100, 1000); got != 100 {
		t.Errorf("%d of 100 kept", got)
	}
}
