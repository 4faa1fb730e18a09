package destination_test

import (
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/destination"
)

func host(t testing.TB, s string) mfpgate.Host {
	t.Helper()
	h, err := mfpgate.ParseHost(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// allow writes a rule; idle marks it, so that tests see which one spoke.
func allow(t testing.TB, pattern string, idle time.Duration, ports ...uint16) mfpgate.AllowRule {
	t.Helper()
	p, err := mfpgate.ParseHostPattern(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return mfpgate.AllowRule{Host: p, Ports: ports, Idle: idle}
}

func policy(t testing.TB) *destination.Policy {
	return destination.NewPolicy([]mfpgate.AllowRule{
		allow(t, "*.example", 1, 443),
		allow(t, "*.cloud.example", 2, 443),
		allow(t, "push.cloud.example", 3, 443),
		allow(t, "push.cloud.example", 4, 443, 80),
		allow(t, "10.0.0.0/8", 5, 443),
		allow(t, "10.1.0.0/16", 6, 443),
		allow(t, "10.1.0.9", 7, 443),
		allow(t, "2001:db8::/32", 8, 443),
		allow(t, "0.0.0.0/0", 9, 8443),
	})
}

func TestPolicy(t *testing.T) {
	p := policy(t)
	for _, tc := range []struct {
		rule, host string
		port       uint16
		want       time.Duration // 0 is a refusal
	}{
		{"nothing names it", "other.test", 443, 0},
		{"a wildcard does not name its own domain", "example", 443, 0},
		{"a name that only ends alike", "evilexample", 443, 0},
		{"the shorter wildcard", "a.example", 443, 1},
		{"the longer wildcard", "a.cloud.example", 443, 2},
		{"a wildcard takes several labels", "b.a.cloud.example", 443, 2},
		{"the domain of the longer is a name under the shorter", "cloud.example", 443, 1},
		{"the exact name, the earlier of two", "push.cloud.example", 443, 3},
		{"the exact name, the one with the port", "push.cloud.example", 80, 4},
		{"another port", "a.cloud.example", 80, 0},
		{"the shorter prefix", "10.2.0.1", 443, 5},
		{"the longer prefix", "10.1.0.8", 443, 6},
		{"the exact address", "10.1.0.9", 443, 7},
		{"IPv6", "2001:db8::1", 443, 8},
		{"IPv6 outside", "2001:db9::1", 443, 0},
		{"a rule for a port that more specific ones lack", "10.1.0.9", 8443, 9},
		{"a mapped address is not its IPv4 address", "::ffff:10.1.0.9", 443, 0},
		{"a name is not an address", "10-1-0-9.test", 443, 0},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			got, ok := p.Allow(host(t, tc.host), tc.port)
			if got.Idle != tc.want || ok != (tc.want != 0) {
				t.Errorf("Allow(%s, %d) = rule %d, %t; want rule %d", tc.host, tc.port, got.Idle, ok, tc.want)
			}
			if ok && !got.Allows(host(t, tc.host), tc.port) {
				t.Errorf("the rule %s that spoke does not name %s", got, tc.host)
			}
		})
	}
	if _, ok := p.Allow(mfpgate.Host{}, 443); ok {
		t.Error("the zero host is allowed")
	}
	if _, ok := destination.NewPolicy(nil).Allow(host(t, "a.example"), 443); ok {
		t.Error("no rules allow something")
	}
}

func TestPolicyDoesNotAllocate(t *testing.T) {
	p := policy(t)
	name, addr := host(t, "b.a.cloud.example"), host(t, "10.2.0.1")
	if n := testing.AllocsPerRun(100, func() {
		p.Allow(name, 443)
		p.Allow(addr, 443)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAllow(b *testing.B) {
	p := policy(b)
	for _, s := range []string{"push.cloud.example", "b.a.cloud.example", "10.2.0.1"} {
		h := host(b, s)
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Allow(h, 443)
			}
		})
	}
}
