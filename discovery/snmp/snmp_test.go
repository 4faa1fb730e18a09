package snmp_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/gosnmp/gosnmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery/snmp"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

const all = mfpgate.PartStatus | mfpgate.PartSupplies | mfpgate.PartCounters

// How long a test waits for an answer: for one that comes, on a busy machine; where a test hears both, silence and answers; and for one that
// never comes.
const (
	comes  = 20 * time.Second
	may    = time.Second
	silent = 400 * time.Millisecond
)

// client asks agents at the port, which answer; change may be nil.
func client(t testing.TB, port uint16, change func(*snmp.Options)) *snmp.Client {
	t.Helper()
	o := snmp.Options{Clock: mfpgate.SystemClock{}, Communities: []string{"public"}, Port: port, Timeout: comes, Retries: -1, Rate: 1e5}
	if change != nil {
		change(&o)
	}
	c, err := snmp.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// within changes how long a client waits.
func within(timeout time.Duration) func(*snmp.Options) {
	return func(o *snmp.Options) { o.Timeout = timeout }
}

func wantSighting(at netip.AddrPort) mfpgate.Sighting {
	return mfpgate.Sighting{
		ID: mfpgate.SightingID("snmp:" + at.Addr().String()), Name: "copier-2f", Location: "Floor 2", Firmware: "1.15", Answered: true,
		Identity: mfpgate.Identity{
			Make: "RICOH", Model: "Aficio MP C2050", Serial: "V1234567890", SysObjectID: "1.3.6.1.4.1.9999.1", MAC: "02:00:00:00:00:03",
		},
		Endpoints: []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolSNMP, Address: at}},
	}
}

func wantReading() mfpgate.Reading {
	return mfpgate.Reading{
		Status: &mfpgate.PrinterStatus{State: mfpgate.PrinterIdle, Reasons: []string{"marker-waste-full-error", "media-low-warning"}, Message: "Ready"},
		Supplies: []mfpgate.Supply{
			{Index: "1", Name: "Noir été", Type: "tonerCartridge", Color: "black", Unit: "percent", Level: 60, Max: 100},
			{Index: "4", Name: "Cyan", Type: "tonerCartridge", Color: "cyan", Unit: "percent", Level: mfpgate.LevelSome, Max: 100},
			{Index: "7", Name: "Waste", Type: "wasteToner", Receives: true, Unit: "tenthsOfGrams", Level: mfpgate.LevelUnknown, Max: mfpgate.LevelUnknown},
		},
		Counters: []mfpgate.Counter{{Name: "impressions", Value: 4294967295}, {Name: "sheets-2", Value: 12}},
		Firmware: "1.15",
	}
}

var times = gocmp.Options{
	cmpopts.IgnoreFields(mfpgate.Sighting{}, "At"), cmpopts.IgnoreFields(mfpgate.Reading{}, "At"), cmpopts.EquateComparable(netip.AddrPort{}),
}

func TestEveryAgentTellsTheSame(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule  string
		agent *agent
	}{
		{"an agent as it should be", &agent{mib: copier("1")}},
		{"version 1 alone", &agent{mib: copier("1"), only1: true}},
		{"another device index", &agent{mib: with(copier("5"), mib{"1.3.6.1.2.1.25.3.2.1.2.1": oid(".1.3.6.1.2.1.25.3.1.3")})}},
		{"another device index in version 1", &agent{mib: copier("5"), only1: true}},
		{"tooBig above eight variables", &agent{mib: copier("1"), most: 8}},
		{"tooBig above one variable", &agent{mib: copier("1"), most: 1}},
		{"tooBig above three variables in version 1", &agent{mib: copier("1"), most: 3, only1: true}},
		{"GETBULK is dropped", &agent{mib: copier("1"), noBulk: true}},
		{"a printer without host resources' table of devices", &agent{mib: with(without(copier("1"), "1.3.6.1.2.1.25.3.2.1.2"), nil)}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			at := c.agent.start(t, "127.0.0.1:0")
			client := client(t, at.Port(), func(o *snmp.Options) {
				if c.agent.only1 || c.agent.noBulk {
					o.Timeout = may
				}
			})
			seen, err := client.Identify(t.Context(), at.Addr())
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(wantSighting(at), seen, times); diff != "" {
				t.Errorf("sighting (-want +got)\n%s", diff)
			}
			read, err := client.Read(t.Context(), at.Addr(), all)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(wantReading(), read, times); diff != "" {
				t.Errorf("reading (-want +got)\n%s", diff)
			}
		})
	}
}

func TestExchangesAreFew(t *testing.T) {
	a := &agent{mib: copier("1")}
	at := a.start(t, "127.0.0.1:0")
	var sent atomic.Int64
	client := client(t, at.Port(), func(o *snmp.Options) { o.Sent = func() { sent.Add(1) } })
	for _, c := range []struct {
		rule string
		want int64
		ask  func() error
	}{
		{"a stranger's identity", 2, func() error { _, err := client.Identify(t.Context(), at.Addr()); return err }},
		{"the identity of one that is known", 1, func() error { _, err := client.Identify(t.Context(), at.Addr()); return err }},
		{"the status", 1, func() error { _, err := client.Read(t.Context(), at.Addr(), mfpgate.PartStatus); return err }},
		{"the supplies", 1, func() error { _, err := client.Read(t.Context(), at.Addr(), mfpgate.PartSupplies); return err }},
		{"the counters", 1, func() error { _, err := client.Read(t.Context(), at.Addr(), mfpgate.PartCounters); return err }},
	} {
		before, counted := a.requests.Load(), sent.Load()
		if err := c.ask(); err != nil {
			t.Fatalf("%s: %v", c.rule, err)
		}
		if got := a.requests.Load() - before; got != c.want {
			t.Errorf("%s: %d exchanges, want %d", c.rule, got, c.want)
		}
		if got := sent.Load() - counted; got != c.want {
			t.Errorf("%s: %d packets counted as sent, want %d", c.rule, got, c.want)
		}
	}
}

func TestPrinters(t *testing.T) {
	t.Parallel()
	const deviceID = "1.3.6.1.4.1.2699.1.2.1.2.1.1.3.1"
	host := without(copier("1"), "1.3.6.1.2.1.25", "1.3.6.1.2.1.43")
	for _, c := range []struct {
		rule  string
		mib   mib
		want  mfpgate.Identity
		isNot bool
	}{
		{"PWG 5107.1's device id alone makes a printer", with(without(copier("1"), "1.3.6.1.2.1.25", "1.3.6.1.2.1.43"), mib{deviceID: "MFG:Acme;MDL:Z1;SN:Z77;"}),
			mfpgate.Identity{Make: "Acme", Model: "Z1", Serial: "Z77"}, false},
		{"a vendor's device id alone makes a printer", with(without(copier("1"), "1.3.6.1.2.1.25", "1.3.6.1.2.1.43"), mib{"1.3.6.1.4.1.10642.1.3.0": "MANUFACTURER:Zebra;MODEL:ZD;"}),
			mfpgate.Identity{Make: "Zebra", Model: "ZD"}, false},
		{"the device id comes before the description, and the description fills its gaps", with(copier("1"), mib{deviceID: "MFG:Acme;SN:000;"}),
			mfpgate.Identity{Make: "Acme", Model: "Aficio MP C2050", Serial: "V1234567890"}, false},
		{"a placeholder is no serial number", with(copier("1"), mib{"1.3.6.1.2.1.43.5.1.1.17.1": "0000000"}),
			mfpgate.Identity{Make: "RICOH", Model: "Aficio MP C2050"}, false},
		{"a host without a printer", host, mfpgate.Identity{}, true},
	} {
		at := (&agent{mib: c.mib}).start(t, "127.0.0.1:0")
		seen, err := client(t, at.Port(), nil).Identify(t.Context(), at.Addr())
		if errors.Is(err, snmp.ErrNotPrinter) != c.isNot || err != nil && !c.isNot {
			t.Errorf("%s: %v", c.rule, err)
			continue
		}
		if diff := gocmp.Diff(c.want, seen.Identity, cmpopts.IgnoreFields(mfpgate.Identity{}, "SysObjectID", "MAC")); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.rule, diff)
		}
	}
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	mute := (&agent{mib: copier("1"), mute: true}).start(t, "127.0.0.1:0")
	_, err := client(t, mute.Port(), within(silent)).Identify(t.Context(), mute.Addr())
	if !errors.Is(err, snmp.ErrSilent) || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a mute agent: %v", err)
	}
	stranger := (&agent{mib: copier("1"), community: "secret"}).start(t, "127.0.0.1:0")
	if _, err := client(t, stranger.Port(), within(silent)).Identify(t.Context(), stranger.Addr()); !errors.Is(err, snmp.ErrSilent) {
		t.Errorf("a wrong community: %v", err)
	}
	known := client(t, stranger.Port(), func(o *snmp.Options) { o.Communities, o.Timeout = []string{"public", "secret"}, may })
	if _, err := known.Identify(t.Context(), stranger.Addr()); err != nil {
		t.Errorf("the second community: %v", err)
	}

	closed, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	at := closed.LocalAddr().(*net.UDPAddr).AddrPort()
	_ = closed.Close()
	if _, err := client(t, at.Port(), nil).Read(t.Context(), at.Addr(), all); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a closed port: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	patient := client(t, mute.Port(), func(o *snmp.Options) { o.Timeout = time.Hour })
	ended := make(chan error)
	go func() { _, err := patient.Identify(ctx, mute.Addr()); ended <- err }() // the test waits for it below
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a call whose context ends: %v", err)
	}
}

// TestAWayThatNoLongerWorksIsForgotten: an agent is changed from version 2c to 1.
func TestAWayThatNoLongerWorksIsForgotten(t *testing.T) {
	t.Parallel()
	var changed atomic.Bool
	a := &agent{mib: copier("1")}
	a.bend = func(in, _ *gosnmp.SnmpPacket, raw []byte) []byte {
		if changed.Load() && in.Version != gosnmp.Version1 {
			return nil
		}
		return raw
	}
	at := a.start(t, "127.0.0.1:0")
	client := client(t, at.Port(), within(may))
	if _, err := client.Read(t.Context(), at.Addr(), mfpgate.PartStatus); err != nil {
		t.Fatal(err)
	}
	changed.Store(true)
	if _, err := client.Read(t.Context(), at.Addr(), mfpgate.PartStatus); !errors.Is(err, snmp.ErrSilent) {
		t.Fatalf("the way that is remembered: %v", err)
	}
	if _, err := client.Read(t.Context(), at.Addr(), mfpgate.PartStatus); err != nil {
		t.Fatalf("the next time: %v", err)
	}
}

func TestHostileAgents(t *testing.T) {
	t.Parallel()
	const console = "1.3.6.1.2.1.43.16.5.1.2.1"
	t.Run("a walk without an end is bounded", func(t *testing.T) {
		line := strings.Repeat("x", 1000)
		a := &agent{mib: copier("1")}
		a.next = func(oid string) (string, any, bool) {
			if oid == console || strings.HasPrefix(oid, console+".") {
				return oid + ".1", line, len(oid) < 200
			}
			return "", nil, false
		}
		at := a.start(t, "127.0.0.1:0")
		read, err := client(t, at.Port(), nil).Read(t.Context(), at.Addr(), mfpgate.PartStatus)
		if err != nil || len(read.Status.Message) > snmp.MaxText {
			t.Errorf("%d octets, %v", len(read.Status.Message), err)
		}
		if n := a.requests.Load(); n > snmp.MaxExchanges+1 {
			t.Errorf("%d requests", n)
		}
	})
	t.Run("a table of a million rows is cut", func(t *testing.T) {
		a := &agent{mib: copier("1")}
		a.next = func(oid string) (string, any, bool) {
			for _, column := range []string{"3", "4", "5", "6", "7", "8", "9"} {
				base := "1.3.6.1.2.1.43.11.1.1." + column + ".1"
				if rest, ok := strings.CutPrefix(oid, base); ok {
					last, _ := strconv.Atoi(strings.TrimPrefix(rest, ".")) // 0 for the column itself
					return base + "." + strconv.Itoa(last+1), last, true
				}
			}
			return "", nil, false
		}
		at := a.start(t, "127.0.0.1:0")
		read, err := client(t, at.Port(), nil).Read(t.Context(), at.Addr(), mfpgate.PartSupplies)
		if err != nil || len(read.Supplies) != snmp.MaxSupplies {
			t.Errorf("%d supplies, %v", len(read.Supplies), err)
		}
	})
	t.Run("a loop ends the walk", func(t *testing.T) {
		a := &agent{mib: copier("1")}
		a.next = func(oid string) (string, any, bool) {
			return console + ".1.1", "again", strings.HasPrefix(oid, console)
		}
		at := a.start(t, "127.0.0.1:0")
		read, err := client(t, at.Port(), nil).Read(t.Context(), at.Addr(), mfpgate.PartStatus)
		if err != nil || read.Status.Message != "again" {
			t.Errorf("%+v, %v", read.Status, err)
		}
		if n := a.requests.Load(); n > 4 {
			t.Errorf("%d requests", n)
		}
	})
	for rule, bend := range map[string]func(in, out *gosnmp.SnmpPacket, raw []byte) []byte{
		"the id of another request": func(_, out *gosnmp.SnmpPacket, _ []byte) []byte {
			out.RequestID ^= 0x55
			raw, _ := out.MarshalMsg()
			return raw
		},
		"rubbish":        func(_, _ *gosnmp.SnmpPacket, raw []byte) []byte { return slices.Repeat([]byte{0x30, 0x84}, 50) },
		"half an answer": func(_, _ *gosnmp.SnmpPacket, raw []byte) []byte { return raw[:len(raw)/2] },
		"a request instead": func(_, out *gosnmp.SnmpPacket, _ []byte) []byte {
			out.PDUType = gosnmp.GetRequest
			raw, _ := out.MarshalMsg()
			return raw
		},
	} {
		at := (&agent{mib: copier("1"), bend: bend}).start(t, "127.0.0.1:0")
		seen, err := client(t, at.Port(), within(silent)).Identify(t.Context(), at.Addr())
		if err == nil || len(err.Error()) > 200 {
			t.Errorf("%s: %+v, %v", rule, seen, err)
		}
	}
}

// TestAnAgentThatStringsUsAlongIsLeft: the clock, not the agent's patience, ends the call.
func TestAnAgentThatStringsUsAlongIsLeft(t *testing.T) {
	mute := (&agent{mute: true}).start(t, "127.0.0.1:0")
	clock := fakeclock.New(time.Now())
	client := client(t, mute.Port(), func(o *snmp.Options) { o.Clock, o.Timeout = clock, time.Hour })
	ended := make(chan error)
	go func() { _, err := client.Identify(t.Context(), mute.Addr()); ended <- err }() // the test waits for it below
	clock.AwaitTimers(1)
	clock.Advance(snmp.MaxSession)
	if err := <-ended; !errors.Is(err, snmp.ErrSilent) {
		t.Errorf("got %v", err)
	}
}

// A context that ends as the session does is no reason to touch a socket that is gone.
func TestAContextThatEndsWithTheSession(t *testing.T) {
	t.Parallel()
	deaf, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	at := deaf.LocalAddr().(*net.UDPAddr).AddrPort()
	for _, patience := range []time.Duration{time.Millisecond, 2 * time.Millisecond} {
		c := client(t, at.Port(), func(o *snmp.Options) { o.Timeout = patience })
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			if _, err := c.Identify(ctx, at.Addr()); !errors.Is(err, snmp.ErrSilent) && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a silent agent: %v", err)
			}
			cancel()
		}
	}
}
