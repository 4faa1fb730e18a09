package mdns_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery/mdns"
)

func TestTextSaysWhoTheDeviceIs(t *testing.T) {
	const uuid = "0a1b2c3d-0000-1000-8000-001122334455"
	for _, tc := range []struct {
		rule, service, txt string
		want               mfpgate.Identity
		location, path     string
		protocol           mfpgate.Protocol
	}{
		{rule: "1284 names come first, and keys have no case", service: "_ipps", protocol: mfpgate.ProtocolIPPS,
			txt:  `"USB_mfg=Canon" "usb_MDL=iR-ADV C5535" "ty=Something else" "uuid=URN:UUID:0A1B2C3D-0000-1000-8000-001122334455" "rp=/ipp/print"`,
			want: mfpgate.Identity{UUID: uuid, Make: "Canon", Model: "iR-ADV C5535"}, path: "ipp/print"},
		{rule: "ty is maker and model", service: "_ipp", protocol: mfpgate.ProtocolIPP,
			txt:  `"ty=HP LaserJet MFP E52645" "note=Floor 3"`,
			want: mfpgate.Identity{Make: "HP", Model: "LaserJet MFP E52645"}, location: "Floor 3"},
		{rule: "makers of two words", service: "_ipp", protocol: mfpgate.ProtocolIPP, txt: `"ty=KONICA MINOLTA bizhub C360i"`,
			want: mfpgate.Identity{Make: "KONICA MINOLTA", Model: "bizhub C360i"}},
		{rule: "product is in parentheses", service: "_pdl-datastream", protocol: mfpgate.ProtocolAppSocket, txt: `"product=(RICOH MP C3004)" "rp=x"`,
			want: mfpgate.Identity{Make: "RICOH", Model: "MP C3004"}},
		{rule: "scanners have rs", service: "_uscan", protocol: mfpgate.ProtocolESCL, txt: `"rs=/eSCL" "UUID=` + uuid + `" "ty=Epson"`,
			want: mfpgate.Identity{UUID: uuid, Model: "Epson"}, path: "eSCL"},
		{rule: "a UUID without dashes is the one that IPP tells with them", service: "_ipp", protocol: mfpgate.ProtocolIPP,
			txt: `"UUID=` + strings.ReplaceAll(uuid, "-", "") + `"`, want: mfpgate.Identity{UUID: uuid}},
		{rule: "the first of two values counts", service: "_printer", protocol: mfpgate.ProtocolLPD, txt: `"rp=lp" "RP=other"`, path: "lp"},
		{rule: "a UUID of zeros is nobody's", service: "_ipp", protocol: mfpgate.ProtocolIPP, txt: `"UUID=00000000-0000-0000-0000-000000000000"`},
		{rule: "a UUID that is none is none", service: "_ipp", protocol: mfpgate.ProtocolIPP, txt: `"UUID=printer-one-two-three-four-five-six!"`},
		{rule: "UTF-8 is kept, control characters are not", service: "_ipp", protocol: mfpgate.ProtocolIPP, txt: `"note=2\233\154\142\007"`, location: "2階"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *sim) {
				s.services = nil
				s.run().pass(time.Second)
				in := `Mr\.\ Copier.` + tc.service + "._tcp.local."
				s.hear(tc.service+"._tcp.local. 4500 IN PTR "+in, in+" 120 CH SRV 0 0 1234 mr.local.", in+" 4500 CH TXT "+tc.txt, "mr.local. 120 CH A 10.1.0.9")
				if len(s.sighted) != 1 {
					t.Fatalf("%d sightings", len(s.sighted))
				}
				want := mfpgate.Sighting{ID: mfpgate.SightingID("dns-sd:Mr. Copier." + tc.service + "._tcp.local"), At: s.sighted[0].At, Name: "Mr. Copier",
					Identity: tc.want, Location: tc.location,
					Endpoints: []mfpgate.Endpoint{{Protocol: tc.protocol, Address: source(mdns.IPv4, 1234), Host: "mr.local", Path: tc.path}}}
				if diff := cmp.Diff(want, s.sighted[0], cmp.Comparer(func(a, b mfpgate.Endpoint) bool { return a == b })); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
			})
		})
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := mdns.Options{Clock: mfpgate.SystemClock{}, Sighted: func(mfpgate.Sighting) {}}
	for _, tc := range []struct {
		rule string
		edit func(*mdns.Options)
		want string
	}{
		{"the defaults do", func(*mdns.Options) {}, ""},
		{"a clock is needed", func(o *mdns.Options) { o.Clock = nil }, "need a Clock"},
		{"only link-local names", func(o *mdns.Options) { o.Services = []string{"_ipp._tcp.example.com"} }, "want a name like"},
		{"only services that have a protocol", func(o *mdns.Options) { o.Services = []string{"_ssh._tcp.local"} }, "no protocol is known"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			o := good
			tc.edit(&o)
			_, err := mdns.New(o)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
