package destination_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/destination"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"
)

var private = mfpgate.AllowRule{Private: true}

// refused fails unless err is a refusal for want.
func refused(t *testing.T, err error, want mfpgate.Reason) {
	t.Helper()
	var r *destination.Refusal
	if !errors.As(err, &r) || r.Reason != want {
		t.Errorf("got %v, want refusal %q", err, want)
	}
}

// reached fails unless conn goes to addr, and closes it.
func reached(t *testing.T, conn *net.TCPConn, err error, addr string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().String(); got != addr {
		t.Errorf("connected to %s, want %s", got, addr)
	}
}

func TestDialLiteral(t *testing.T) {
	noLeaks(t)
	d := dialer(nil)
	for _, tc := range []struct {
		rule, listen, host string
		allow              mfpgate.AllowRule
		want               mfpgate.Reason
	}{
		{"a private address under private: true", "127.0.0.2", "127.0.0.2", private, ""},
		{"IPv6", "[::1]", "::1", private, ""},
		{"a mapped address is connected to as IPv4", "127.0.0.2", "[::ffff:127.0.0.2]", private, ""},
		{"loopback", "127.0.0.2", "127.0.0.2", mfpgate.AllowRule{}, destination.ReasonLoopback},
		{"mapped loopback", "127.0.0.2", "::ffff:127.0.0.2", mfpgate.AllowRule{}, destination.ReasonLoopback},
		{"nothing lifts unspecified", "127.0.0.2", "0.0.0.0", private, destination.ReasonUnspecified},
		{"nothing lifts multicast", "127.0.0.2", "224.0.0.1", private, destination.ReasonMulticast},
		{"nothing lifts broadcast", "127.0.0.2", "255.255.255.255", private, destination.ReasonBroadcast},
		{"nothing lifts an embedded unspecified", "127.0.0.2", "::ffff:0.0.0.0", private, destination.ReasonUnspecified},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			port := origin(t, tc.listen+":0")
			conn, err := d.Dial(budget(t), tc.allow, host(t, tc.host), port)
			if tc.want != "" {
				refused(t, err, tc.want)
				return
			}
			reached(t, conn, err, netip.MustParseAddr(host(t, tc.host).String()).Unmap().String())
		})
	}
}

func TestDialNames(t *testing.T) {
	noLeaks(t)
	for _, tc := range []struct {
		rule   string
		answer func(string, int) ([]string, dnsmessage.RCode, bool)
		allow  mfpgate.AllowRule
		want   mfpgate.Reason // "" reaches 127.0.0.2
	}{
		{"rebinding: only the first answer counts", func(_ string, n int) ([]string, dnsmessage.RCode, bool) {
			return []string{fmt.Sprintf("127.0.0.%d", 1+n)}, dnsmessage.RCodeSuccess, true
		}, private, ""},
		{"a dead address before the live one", always("127.0.0.9", "127.0.0.2"), private, ""},
		{"a dead family before the live one", always("::1", "127.0.0.2"), private, ""},
		{"a hundred answers, the first alive", func(string, int) ([]string, dnsmessage.RCode, bool) {
			return hundred("127.0.0.2"), dnsmessage.RCodeSuccess, true
		}, private, ""},
		{"a hundred answers, all but one beyond the bound and dead", func(string, int) ([]string, dnsmessage.RCode, bool) {
			return append(hundred("127.0.1.250"), "127.0.0.2"), dnsmessage.RCodeSuccess, true
		}, private, destination.ReasonConnectionRefused},
		{"prohibited addresses are dropped", always("224.0.0.1", "127.0.0.2", "0.0.0.0"), private, ""},
		{"all prohibited", always("192.168.0.1", "10.0.0.1"), mfpgate.AllowRule{}, destination.ReasonPrivate},
		{"an IPv6 address that embeds a private one", always("64:ff9b::10.0.0.1"), mfpgate.AllowRule{}, destination.ReasonPrivate},
		{"nobody listens", always("127.0.0.9"), private, destination.ReasonConnectionRefused},
		{"NXDOMAIN", func(string, int) ([]string, dnsmessage.RCode, bool) { return nil, dnsmessage.RCodeNameError, true },
			private, destination.ReasonNoAddress},
		{"no record", always(), private, destination.ReasonNoAddress},
		{"REFUSED by the server", func(string, int) ([]string, dnsmessage.RCode, bool) { return nil, dnsmessage.RCodeRefused, true },
			private, destination.ReasonDNSError},
		{"no answer", func(string, int) ([]string, dnsmessage.RCode, bool) { return nil, 0, false },
			private, destination.ReasonDNSTimeout},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			port := origin(t, "127.0.0.2:0")
			s := serveDNS(t, tc.answer)
			d := dialer(s)
			if tc.want == destination.ReasonDNSTimeout {
				d.DNSTimeout = 50 * time.Millisecond
			}
			conn, err := d.Dial(budget(t), tc.allow, host(t, "a.cloud.example"), port)
			if tc.want != "" {
				refused(t, err, tc.want)
			} else {
				reached(t, conn, err, "127.0.0.2")
			}
			if n := s.queries.Load(); n != 1 && tc.want != destination.ReasonDNSError {
				t.Errorf("%d queries for A records, want 1", n)
			}
		})
	}
}

// TestDialWhereAAAAIsDropped: the answer for A is used although the other never comes.
func TestDialWhereAAAAIsDropped(t *testing.T) {
	noLeaks(t)
	port := origin(t, "127.0.0.2:0")
	s := serveDNS(t, always("127.0.0.2"))
	s.patience = 50 * time.Millisecond
	conn, err := dialer(s).Dial(budget(t), private, host(t, "only-a.cloud.example"), port)
	reached(t, conn, err, "127.0.0.2")
}

// hundred is an answer of 100 addresses; those behind the first are dead.
func hundred(first string) []string {
	addrs := []string{first}
	for i := range 99 {
		addrs = append(addrs, fmt.Sprintf("127.0.1.%d", 1+i))
	}
	return addrs
}

func TestDialStaggersAttempts(t *testing.T) {
	noLeaks(t)
	port := silent(t, "127.0.0.3", 0)
	l, err := net.Listen("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), port).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := dialer(serveDNS(t, always("127.0.0.3", "127.0.0.2")))
	clock := fakeclock.New(time.Unix(1e9, 0))
	d.Clock = clock
	done := make(chan error, 1)
	go func() { // awaited below
		conn, err := d.Dial(budget(t), private, host(t, "a.cloud.example"), port)
		if err == nil {
			_ = conn.Close()
		}
		done <- err
	}()
	clock.AwaitTimers(1)
	clock.Advance(249 * time.Millisecond)
	select {
	case err := <-done:
		t.Fatalf("ended before the delay: %v", err)
	default:
	}
	clock.Advance(time.Millisecond)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestDialTimesOut(t *testing.T) {
	noLeaks(t)
	port := silent(t, "127.0.0.3", 0)
	silent(t, "127.0.0.4", port)
	d := dialer(serveDNS(t, always("127.0.0.3", "127.0.0.4")))
	d.Timeout = 50 * time.Millisecond
	_, err := d.Dial(budget(t), private, host(t, "127.0.0.3"), port)
	refused(t, err, destination.ReasonConnectionTimeout)
	_, err = d.Dial(budget(t), private, host(t, "a.cloud.example"), port)
	refused(t, err, destination.ReasonConnectionTimeout)
}

// TestDialCancel: the caller's leaving ends every stage at once, and nothing remains.
func TestDialCancel(t *testing.T) {
	port := silent(t, "127.0.0.3", 0)
	silent(t, "127.0.0.4", port)
	for _, tc := range []struct {
		rule, host string
		answers    bool
	}{
		{"while resolving", "a.cloud.example", false},
		{"while connecting to one address", "127.0.0.3", true},
		{"while several attempts run", "a.cloud.example", true},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			// The fake server's own goroutine ends in Cleanup, after this.
			asked := make(chan struct{}, 16)
			s := serveDNS(t, func(string, int) ([]string, dnsmessage.RCode, bool) {
				asked <- struct{}{}
				return []string{"127.0.0.3", "127.0.0.4"}, dnsmessage.RCodeSuccess, tc.answers
			})
			leak := goleak.IgnoreCurrent()
			d := dialer(s)
			clock := fakeclock.New(time.Unix(1e9, 0))
			d.Clock = clock
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { // awaited below
				_, err := d.Dial(ctx, private, host(t, tc.host), port)
				done <- err
			}()
			if tc.host == "a.cloud.example" {
				<-asked
				if tc.answers {
					clock.AwaitTimers(1)
					clock.Advance(time.Second)
				}
			}
			cancel()
			select {
			case err := <-done:
				var r *destination.Refusal
				if !errors.Is(err, context.Canceled) || errors.As(err, &r) {
					t.Errorf("got %v, want context.Canceled and no refusal", err)
				}
			case <-time.NewTimer(20 * time.Second).C:
				t.Fatal("still dialling 20 s after the caller left")
			}
			goleak.VerifyNone(t, leak)
		})
	}
}

func TestAllowedDropsPrivateAmongPublic(t *testing.T) {
	d := dialer(nil)
	d.Box.Interfaces = func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("9.9.9.9")}, nil }
	parse := func(texts ...string) (addrs []netip.Addr) {
		for _, text := range texts {
			addrs = append(addrs, netip.MustParseAddr(text))
		}
		return addrs
	}
	got, refusal := destination.Allowed(d, parse("10.0.0.1", "8.8.8.8", "::1", "2606:4700::1", "9.9.9.9", "64:ff9b::9.9.9.9"), 443, false)
	if refusal != nil {
		t.Fatal(refusal)
	}
	if diff := cmp.Diff(fmt.Sprint(parse("8.8.8.8", "2606:4700::1")), fmt.Sprint(got)); diff != "" {
		t.Error(diff)
	}
	if _, refusal = destination.Allowed(d, parse("169.254.169.254", "10.0.0.1"), 443, false); refusal == nil || refusal.Reason != destination.ReasonMetadata {
		t.Errorf("all prohibited: %v, want the first one's reason", refusal)
	}
}

func TestReasonsHaveMeanings(t *testing.T) {
	for _, tc := range []struct {
		reason mfpgate.Reason
		want   string
		status int
	}{
		{destination.ReasonDNSError, "dns_error", 502},
		{destination.ReasonDNSTimeout, "dns_timeout", 504},
		{destination.ReasonNoAddress, "dns_error", 502},
		{destination.ReasonConnectionRefused, "connection_refused", 502},
		{destination.ReasonConnectionTimeout, "connection_timeout", 504},
		{destination.ReasonUnreachable, "destination_ip_unroutable", 502},
		{destination.ReasonReset, "connection_terminated", 502},
		{destination.ReasonExhausted, "proxy_internal_error", 502},
		{destination.ReasonSelf, "proxy_loop_detected", 403},
		{destination.ReasonOwn, "destination_ip_prohibited", 403},
		{destination.ReasonMetadata, "destination_ip_prohibited", 403},
	} {
		if got, status := destination.ProxyError(tc.reason), destination.Status(tc.reason); got != tc.want || status != tc.status {
			t.Errorf("%s: %s %d, want %s %d", tc.reason, got, status, tc.want, tc.status)
		}
	}
}

func BenchmarkDialLiteral(b *testing.B) {
	port := origin(b, "127.0.0.2:0")
	d := dialer(nil)
	h := host(b, "127.0.0.2")
	b.ReportAllocs()
	for b.Loop() {
		conn, err := d.Dial(b.Context(), private, h, port)
		if err != nil {
			b.Fatal(err)
		}
		_ = conn.SetLinger(0)
		_ = conn.Close()
	}
}
