package snmp_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/gosnmp/gosnmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery/snmp"
)

func TestScanFindsThePrintersOfARange(t *testing.T) {
	t.Parallel()
	first := &agent{mib: copier("1")}
	port := first.start(t, "127.0.9.5:0").Port()
	at := func(host string) string { return host + ":" + strconv.Itoa(int(port)) }
	for host, a := range map[string]*agent{
		"127.0.9.7":  {mib: copier("3"), only1: true},
		"127.0.9.9":  {mib: copier("1"), community: "other"},
		"127.0.9.10": {mib: copier("1"), community: "nobody's"},
		"127.0.9.11": {mib: without(copier("1"), "1.3.6.1.2.1.25", "1.3.6.1.2.1.43")},
		"127.0.9.12": {mib: copier("1"), mute: true},
	} {
		a.start(t, at(host))
	}
	var sent atomic.Int64
	client := client(t, port, func(o *snmp.Options) {
		o.Communities, o.Timeout = []string{"public", "other"}, may
		o.Rand = rand.New(rand.NewPCG(1, 2))
		o.Sent = func() { sent.Add(1) }
	})
	scan := func() (found []string) {
		inside := false
		asked, err := client.Scan(t.Context(), []netip.Prefix{netip.MustParsePrefix("127.0.9.0/28"), netip.MustParsePrefix("127.0.9.8/30")}, func(s mfpgate.Sighting) {
			if inside {
				t.Error("found was called while it ran")
			}
			inside = true
			found = append(found, string(s.ID)+" "+s.Identity.Model)
			inside = false
		})
		if err != nil {
			t.Fatal(err)
		}
		if asked != 14 {
			t.Errorf("%d addresses asked, want 14: neither the network's nor the broadcast address, and none twice", asked)
		}
		slices.Sort(found)
		return found
	}
	want := []string{"snmp:127.0.9.5 Aficio MP C2050", "snmp:127.0.9.7 Aficio MP C2050", "snmp:127.0.9.9 Aficio MP C2050"}
	if diff := gocmp.Diff(want, scan()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	before := first.requests.Load()
	if diff := gocmp.Diff(want, scan()); diff != "" {
		t.Errorf("again: (-want +got)\n%s", diff)
	}
	// The question in two communities, at most, and one exchange for what is known.
	if n := first.requests.Load() - before; n > 3 {
		t.Errorf("one that is known got %d packets in the second scan", n)
	}
}

func TestScanKeepsToTheRateAndEndsWithItsContext(t *testing.T) {
	t.Parallel()
	mute := (&agent{mute: true}).start(t, "127.0.10.1:0")
	var sent atomic.Int64
	client := client(t, mute.Port(), func(o *snmp.Options) {
		o.Rate, o.Timeout = 100, silent
		o.Sent = func() { sent.Add(1) }
	})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := client.Scan(ctx, []netip.Prefix{netip.MustParsePrefix("127.0.10.0/24")}, func(mfpgate.Sighting) {})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if took, most := time.Since(start), int64(5+5+100*time.Since(start).Seconds()); sent.Load() > most || took > 5*time.Second {
		t.Errorf("%d packets in %s at 100 a second", sent.Load(), took)
	}
}

func TestRanges(t *testing.T) {
	for _, c := range []struct{ rule, ranges, refused string }{
		{"a /16 is the most", "10.0.0.0/16", ""},
		{"a /15 is too much", "10.0.0.0/15", "10.0.0.0/15"},
		{"and so are two /16", "10.0.0.0/16 10.1.0.0/16", "more than 65536"},
		{"what lies in another range is counted once", "10.0.0.0/16 10.0.7.0/24 10.0.0.0/16", ""},
		{"an IPv6 subnet is refused", "2001:db8::/64", "2001:db8::/64 is too wide"},
		{"a /112 is refused", "2001:db8::/112", "too wide"},
		{"a /113 is taken", "2001:db8::/113", ""},
		{"an IPv4 range in IPv6's clothes", "::ffff:10.0.0.0/120", ""},
		{"no range", "", ""},
	} {
		var ranges []netip.Prefix
		for _, r := range strings.Fields(c.ranges) {
			ranges = append(ranges, netip.MustParsePrefix(r))
		}
		err := snmp.CheckRanges(ranges)
		if c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s: %v", c.rule, err)
		}
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	good := snmp.User{Name: "reader", Auth: "sha256", AuthPassword: "12345678", Privacy: "aes", PrivacyPassword: "12345678"}
	for _, c := range []struct {
		rule    string
		change  func(*snmp.User)
		refused string
	}{
		{"a whole user", func(*snmp.User) {}, ""},
		{"no name", func(u *snmp.User) { u.Name = "" }, "name"},
		{"an unknown authentication", func(u *snmp.User) { u.Auth = "sha1" }, "write none, md5, sha"},
		{"an unknown privacy", func(u *snmp.User) { u.Privacy = "rot13" }, "write none, des"},
		{"a short password", func(u *snmp.User) { u.AuthPassword = "1234567" }, "8 octets"},
		{"privacy without authentication", func(u *snmp.User) { u.Auth = "" }, "privacy needs authentication"},
	} {
		u := good
		c.change(&u)
		_, err := snmp.New(snmp.Options{Clock: mfpgate.SystemClock{}, Users: []snmp.User{u}})
		if c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s: %v", c.rule, err)
		}
	}
	if _, err := snmp.New(snmp.Options{Clock: mfpgate.SystemClock{}}); err == nil {
		t.Error("neither a community nor a user: got no error")
	}
}

// BenchmarkScanSilent is the cost of one silent address: two packets, at a rate that does not limit.
func BenchmarkScanSilent(b *testing.B) {
	mute, err := net.ListenUDP("udp4", nil) // nobody reads from it: the kernel drops what is too much
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = mute.Close() }()
	client := client(b, mute.LocalAddr().(*net.UDPAddr).AddrPort().Port(), func(o *snmp.Options) { o.Timeout, o.Rate = time.Millisecond, 1e6 })
	asked := 0
	for b.Loop() {
		n, err := client.Scan(b.Context(), []netip.Prefix{netip.MustParsePrefix("127.1.0.0/20")}, func(mfpgate.Sighting) {})
		if err != nil {
			b.Fatal(err)
		}
		asked += n
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(asked), "µs/address")
}

func TestScanIgnoresAnswersToNoQuestion(t *testing.T) {
	t.Parallel()
	asked := &agent{mib: copier("1")}
	asked.bend = func(_, out *gosnmp.SnmpPacket, _ []byte) []byte {
		out.RequestID++ // the question to the neighbour, if there is one
		raw, _ := out.MarshalMsg()
		return raw
	}
	at := asked.start(t, "127.0.11.1:0")
	client := client(t, at.Port(), within(silent))
	if _, err := client.Scan(t.Context(), []netip.Prefix{netip.MustParsePrefix("127.0.11.0/30")}, func(s mfpgate.Sighting) {
		t.Errorf("found %s", s.ID)
	}); err != nil {
		t.Error(err)
	}
	// The first question, in two versions; nobody was led to identify it.
	if n := asked.requests.Load(); n != 2 {
		t.Errorf("%d packets", n)
	}
}
