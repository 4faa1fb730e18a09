package discovery_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery"
	"github.com/mfpgate/mfpgate/telemetry"
)

var (
	loopback  = netip.MustParseAddr("127.0.0.1")
	addrPorts = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
)

// plugged is a printer on USB that the gateway serves at a port of its own, or with 0 drives by bytes.
func plugged(at string, who mfpgate.Identity, port uint16) mfpgate.Sighting {
	s := mfpgate.Sighting{ID: mfpgate.NewSightingID(mfpgate.SourceUSB, at), Identity: who, Name: who.Model, Answered: true}
	if port == 0 {
		s.Endpoints = []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolUSB, Path: at}}
	} else {
		s.Endpoints = []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolIPP, Address: netip.AddrPortFrom(loopback, port), Path: "ipp/print"}}
	}
	return s
}

func unplugged(at string) mfpgate.Sighting {
	return mfpgate.Sighting{ID: mfpgate.NewSightingID(mfpgate.SourceUSB, at), Gone: true}
}

// who is what the descriptors and the 1284 id say.
func who(product, serial string) mfpgate.Identity {
	return mfpgate.Identity{Make: "HP", Model: "LaserJet " + product, Serial: serial, USB: "03f0:" + product + ":" + serial}
}

// saidOverIPP is what the printer at a port says at the gateway's endpoint.
func saidOverIPP(at string, who mfpgate.Identity) mfpgate.Sighting {
	return discovery.AskedOverUSB(mfpgate.NewSightingID(mfpgate.SourceUSB, at), mfpgate.Sighting{ID: "ipp:ipp://127.0.0.1:60000/ipp/print", Identity: who,
		Answered: true, Endpoints: []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolIPP, Address: netip.AddrPortFrom(loopback, 60000)}}})
}

// ids are the devices' by where they are.
func ids(r *discovery.Registry) map[string]mfpgate.DeviceID {
	all := map[string]mfpgate.DeviceID{}
	for _, d := range r.List() {
		all[d.Address] = d.ID
	}
	return all
}

func TestAPrinterOnUSBIsADevice(t *testing.T) {
	s := newSite(t)
	r, stop := s.open(policy())
	defer stop()
	r.Sight(plugged("1-2.4", who("e911", "CN1"), 60001))
	d := only(t, r)
	want := mfpgate.Device{ID: d.ID, Name: "LaserJet e911", Make: "HP", Model: "LaserJet e911", Serial: "CN1", Attachment: mfpgate.AttachmentUSB, Address: "usb:1-2.4",
		State: mfpgate.DeviceOnline, Since: start, MonitoringMode: mfpgate.MonitoringPolling, Home: "jp", LastSeen: start}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Error(diff)
	}
	target, ok := r.Target(d.ID)
	ways := []discovery.Way{{Sighting: "usb:1-2.4", Endpoint: mfpgate.Endpoint{Protocol: mfpgate.ProtocolIPP, Address: netip.AddrPortFrom(loopback, 60001), Path: "ipp/print"}}}
	if diff := cmp.Diff(ways, target.Ways, addrPorts); !ok || diff != "" || target.Mode != mfpgate.MonitoringPolling {
		t.Errorf("%v %s %s", ok, target.Mode, diff)
	}
	if id, _, known := r.Identify(loopback, ""); id == d.ID || known {
		t.Error("who calls the relay from the gateway itself is taken for the printer")
	}
	r.Sight(unplugged("1-2.4"))
	if d, _ := r.Detail(d.ID); d.Device.State != mfpgate.DeviceOffline || d.Device.Reason != discovery.Unplugged || d.Device.Address != "usb:1-2.4" {
		t.Errorf("unplugged it is %s %s at %s", d.Device.State, d.Device.Reason, d.Device.Address)
	}
	if target, ok := r.Target(d.ID); ok {
		t.Errorf("unplugged it is asked: %v", target.Ways)
	}
}

func only(t *testing.T, r *discovery.Registry) mfpgate.Device {
	t.Helper()
	list := r.List()
	if len(list) != 1 {
		t.Fatalf("there are %d devices, want one: %+v", len(list), list)
	}
	return list[0]
}

func TestAPrinterThatIsNotDrivenIsAskedWhy(t *testing.T) {
	r, stop := newSite(t).open(policy())
	defer stop()
	s := plugged("1-1", mfpgate.Identity{USB: "03f0:e911:"}, 0)
	s.Answered, s.Endpoints = false, nil
	r.Sight(s)
	d := only(t, r)
	target, ok := r.Target(d.ID)
	if diff := cmp.Diff([]discovery.Way{{Sighting: "usb:1-1", Endpoint: mfpgate.Endpoint{Protocol: mfpgate.ProtocolUSB, Path: "1-1"}}}, target.Ways, addrPorts); !ok || diff != "" {
		t.Errorf("%v %s", ok, diff)
	}
	r.Failed(d.ID, "usb-access")
	if d := only(t, r); d.State != mfpgate.DeviceOffline || d.Reason != "usb-access" {
		t.Errorf("it is %s %s", d.State, d.Reason)
	}
	r.Sight(plugged("1-1", who("e911", "CN1"), 0)) // the right is there now: it says who it is
	if now := only(t, r); now.ID != d.ID || now.Serial != "CN1" || !r.Doubtful(d.ID) {
		t.Errorf("it is %s %s, to be asked again: %v", now.ID, now.Serial, r.Doubtful(d.ID))
	}
}

func TestPrintersOnUSBKeepTheirIDs(t *testing.T) {
	for _, tc := range []struct {
		rule    string
		before  []mfpgate.Sighting
		between []mfpgate.Sighting // after a restart
		same    map[string]string  // where a device is now: where it was; "" is a new one
	}{
		{"the same model twice without serial numbers stays on its port",
			[]mfpgate.Sighting{plugged("1-1", who("e911", ""), 60000), plugged("1-2", who("e911", ""), 60001)},
			[]mfpgate.Sighting{plugged("1-2", who("e911", ""), 60001), plugged("1-1", who("e911", ""), 60000)},
			map[string]string{"usb:1-1": "usb:1-1", "usb:1-2": "usb:1-2"}},
		{"the same model on another port is not the one without a serial number that was unplugged",
			[]mfpgate.Sighting{plugged("1-1", who("e911", ""), 0), unplugged("1-1")},
			[]mfpgate.Sighting{plugged("1-2", who("e911", ""), 0)},
			map[string]string{"usb:1-2": ""}},
		{"one with a serial number moves",
			[]mfpgate.Sighting{plugged("1-1", who("e911", "CN1"), 60000), plugged("1-2", who("e911", "CN2"), 0)},
			[]mfpgate.Sighting{plugged("1-1", who("e911", "CN2"), 0), plugged("1-2", who("e911", "CN1"), 60000)},
			map[string]string{"usb:1-1": "usb:1-2", "usb:1-2": "usb:1-1"}},
		{"another model on a port is another device, and the first is known when it comes back",
			[]mfpgate.Sighting{plugged("1-1", who("e911", ""), 0), unplugged("1-1"), plugged("1-1", who("0217", ""), 0), unplugged("1-1")},
			[]mfpgate.Sighting{plugged("1-1", who("e911", ""), 0), plugged("1-2", who("0217", ""), 0)},
			map[string]string{"usb:1-1": "usb:1-1", "usb:1-2": ""}},
		{"a maker's one serial number for all makes no one device of two, not even while one is unplugged",
			[]mfpgate.Sighting{plugged("1-1", who("e911", "CN1"), 0), plugged("1-2", who("e911", "CN1"), 0), unplugged("1-1"), plugged("1-2", who("e911", "CN1"), 60000)},
			[]mfpgate.Sighting{plugged("1-1", who("e911", "CN1"), 0), plugged("1-2", who("e911", "CN1"), 60000)},
			map[string]string{"usb:1-1": "usb:1-1", "usb:1-2": "usb:1-2"}},
		{"what one said over IPP does not follow another on its port",
			[]mfpgate.Sighting{plugged("1-1", who("e911", "CN1"), 60000), saidOverIPP("1-1", mfpgate.Identity{UUID: "0c9e8c6a-0001-4a5b-8c6d-000000000001", Serial: "CN1"})},
			[]mfpgate.Sighting{plugged("1-1", who("e911", "CN2"), 60001), saidOverIPP("1-1", mfpgate.Identity{UUID: "0c9e8c6a-0001-4a5b-8c6d-000000000001", Serial: "CN1"}),
				saidOverIPP("1-1", mfpgate.Identity{UUID: "0c9e8c6a-0001-4a5b-8c6d-000000000002", Serial: "CN2"}), plugged("1-2", who("e911", "CN1"), 60000)},
			map[string]string{"usb:1-1": "", "usb:1-2": "usb:1-1"}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			s := newSite(t)
			r, stop := s.open(policy())
			was := map[string]mfpgate.DeviceID{}
			for _, sighting := range tc.before {
				r.Sight(sighting)
				for at, id := range ids(r) {
					if was[at] == "" {
						was[at] = id
					}
				}
			}
			stop()
			r, stop = s.open(policy())
			defer stop()
			for _, sighting := range tc.between {
				r.Sight(sighting)
			}
			now := map[string]mfpgate.DeviceID{}
			for _, d := range r.List() {
				if d.State == mfpgate.DeviceOnline {
					now[d.Address] = d.ID
				}
			}
			for at, before := range tc.same {
				known := false
				for _, id := range was {
					known = known || id == now[at]
				}
				if before == "" && known || before != "" && now[at] != was[before] || now[at] == "" {
					t.Errorf("at %s is %q; it was %v", at, now[at], was)
				}
			}
			if len(now) != len(tc.same) {
				t.Errorf("there are %v, want %d devices", now, len(tc.same))
			}
		})
	}
}

func TestOneDeviceByUSBAndOnTheNetwork(t *testing.T) {
	const uuid = "0c9e8c6a-0001-4a5b-8c6d-000000000001"
	onNetwork := mfpgate.Sighting{ID: "ipp:ipp://10.1.0.9:631/ipp/print", Answered: true, Name: "2F",
		Endpoints: []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolIPP, Address: netip.AddrPortFrom(copierAt, 631), Path: "ipp/print"}}}
	for _, tc := range []struct {
		rule string
		says mfpgate.Identity // on the network
		usb  []mfpgate.Sighting
	}{
		{"by make, model and serial number", mfpgate.Identity{Make: "hp", Model: "HP LaserJet e911", Serial: "CN1"}, []mfpgate.Sighting{plugged("1-1", who("e911", "CN1"), 0)}},
		{"by the UUID that it says over IPP", mfpgate.Identity{UUID: uuid},
			[]mfpgate.Sighting{plugged("1-1", who("e911", "CN1"), 60000), saidOverIPP("1-1", mfpgate.Identity{UUID: uuid, Serial: "CN1"})}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			r, stop := newSite(t).open(policy())
			defer stop()
			onNetwork.Identity = tc.says
			r.Sight(onNetwork)
			for _, s := range tc.usb {
				r.Sight(s)
			}
			d := only(t, r)
			if d.Attachment != mfpgate.AttachmentNetwork || d.Address != "10.1.0.9" || d.MonitoringMode != mfpgate.MonitoringProxy {
				t.Errorf("one that has an address of its own is %s at %s in mode %s", d.Attachment, d.Address, d.MonitoringMode)
			}
			if target, _ := r.Target(d.ID); len(target.Ways) != 2 || target.Ways[0].Sighting != onNetwork.ID {
				t.Errorf("it is asked %+v, want at its address and on its port", target.Ways)
			}
			if id, _, _ := r.Identify(copierAt, ""); id != d.ID {
				t.Error("the relay does not know it")
			}
		})
	}
}

func TestAnEndpointOfTheGatewayIsThePrinterBehindIt(t *testing.T) {
	const own = "10.1.0.2"
	port := &mfpgate.USBPort{Bus: "1-1", Mode: mfpgate.USBModeIPP, URL: "http://127.0.0.1:60000", Shared: true}
	s := newSite(t)
	r, err := discovery.New(context.Background(), discovery.Options{Clock: s.clock, Log: telemetry.Discard(), Metrics: s.metrics, Store: s.store,
		USB: discovery.USB{
			Port: func(id mfpgate.SightingID) *mfpgate.USBPort {
				if id == "usb:1-1" {
					return port
				}
				return nil
			},
			Behind: func(at netip.AddrPort) mfpgate.SightingID {
				if at.Port() == 60000 && at.Addr() == netip.MustParseAddr(own) {
					return "usb:1-1"
				}
				return ""
			}}}, policy())
	if err != nil {
		t.Fatal(err)
	}
	r.Sight(plugged("1-1", who("e911", ""), 60000))
	at := netip.MustParseAddrPort(own + ":60000")
	r.Sight(mfpgate.Sighting{ID: "dns-sd:LaserJet @ osaka._ipp._tcp.local", Name: "LaserJet @ osaka", Identity: mfpgate.Identity{UUID: "0c9e8c6a-0001-4a5b-8c6d-000000000009"},
		Endpoints: []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolIPP, Address: at, Host: "osaka.local", Path: "ipp/print"}}})
	r.Sight(mfpgate.Sighting{ID: "ipp:ipp://10.1.0.2:60000/ipp/print", Answered: true, Endpoints: []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolIPP, Address: at, Path: "ipp/print"}}})
	d := only(t, r)
	if d.Attachment != mfpgate.AttachmentUSB || d.Address != "usb:1-1" || d.Name != "LaserJet @ osaka" || d.USB != port {
		t.Errorf("it is %s at %s, %q, USB %+v", d.Attachment, d.Address, d.Name, d.USB)
	}
	if target, _ := r.Target(d.ID); len(target.Ways) != 1 || target.Ways[0].Sighting != "usb:1-1" {
		t.Errorf("it is asked %+v, want on its port alone", target.Ways)
	}
	if id, _, _ := r.Identify(at.Addr(), ""); id == d.ID {
		t.Error("who calls the relay from the gateway itself is taken for the printer")
	}
}

func TestWhatWasPluggedInBeforeARestart(t *testing.T) {
	s := newSite(t)
	r, stop := s.open(policy())
	r.Sight(plugged("1-1", who("e911", "CN1"), 60000))
	r.Sight(plugged("1-2", who("e911", "CN2"), 60001))
	for _, d := range r.List() {
		r.Answered(mfpgate.SightingID(d.Address), mfpgate.Reading{At: start})
	}
	stop()
	s.clock.Advance(time.Minute)
	r, stop = s.open(policy())
	defer stop()
	for _, d := range r.List() { // nobody has looked
		if target, ok := r.Target(d.ID); ok || d.State != mfpgate.DeviceOnline {
			t.Errorf("%s is %s %s, and asked at %v", d.Address, d.State, d.Reason, target.Ways)
		}
	}
	r.Sight(plugged("1-1", who("e911", "CN1"), 60000))
	r.USBLooked()
	for _, d := range r.List() {
		want, at := mfpgate.DeviceOnline, start
		if d.Serial == "CN2" {
			want, at = mfpgate.DeviceOffline, s.clock.Now()
		}
		if d.State != want || !d.Since.Equal(at) {
			t.Errorf("%s is %s since %s, want %s since %s", d.Serial, d.State, d.Since, want, at)
		}
	}
	r.USBOff()
	for _, d := range r.List() {
		if d.State != mfpgate.DeviceOffline || d.Reason != discovery.USBOff {
			t.Errorf("with USB off %s is %s %s", d.Serial, d.State, d.Reason)
		}
	}
	r.Sight(plugged("1-1", who("e911", "CN1"), 60000))
	for _, d := range r.List() {
		if d.Serial == "CN1" && d.State != mfpgate.DeviceOnline || d.Serial == "CN2" && d.Reason != discovery.Unplugged {
			t.Errorf("with USB on again %s is %s %s", d.Serial, d.State, d.Reason)
		}
	}
}
