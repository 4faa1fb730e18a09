package destination_test

import (
	"net/netip"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/destination"
)

// TestJudgeRegistryEdges takes the first and last address of every block, and the neighbours outside where those differ.
func TestJudgeRegistryEdges(t *testing.T) {
	for _, tc := range []struct {
		rule        string
		first, last string
		want        mfpgate.Reason
		below, over mfpgate.Reason // verdict on the neighbours
	}{
		{"this network", "0.0.0.0", "0.255.255.255", destination.ReasonUnspecified, "-", ""},
		{"private 10/8", "10.0.0.0", "10.255.255.255", destination.ReasonPrivate, "", ""},
		{"carrier NAT", "100.64.0.0", "100.127.255.255", destination.ReasonShared, "", ""},
		{"Alibaba's metadata", "100.100.100.200", "100.100.100.200", destination.ReasonMetadata, destination.ReasonShared, destination.ReasonShared},
		{"loopback", "127.0.0.0", "127.255.255.255", destination.ReasonLoopback, "", ""},
		{"Azure's wire server", "168.63.129.16", "168.63.129.16", destination.ReasonMetadata, "", ""},
		{"link-local before metadata", "169.254.0.0", "169.254.169.253", destination.ReasonLinkLocal, "", destination.ReasonMetadata},
		{"metadata", "169.254.169.254", "169.254.169.254", destination.ReasonMetadata, destination.ReasonLinkLocal, destination.ReasonLinkLocal},
		{"link-local after metadata", "169.254.169.255", "169.254.255.255", destination.ReasonLinkLocal, destination.ReasonMetadata, ""},
		{"private 172.16/12", "172.16.0.0", "172.31.255.255", destination.ReasonPrivate, "", ""},
		{"protocol assignments", "192.0.0.0", "192.0.0.255", destination.ReasonReserved, "", ""},
		{"TEST-NET-1", "192.0.2.0", "192.0.2.255", destination.ReasonDocumentation, "", ""},
		{"AS112", "192.31.196.0", "192.31.196.255", "", "", ""},
		{"AMT", "192.52.193.0", "192.52.193.255", "", "", ""},
		{"6to4 relays", "192.88.99.0", "192.88.99.255", destination.ReasonReserved, "", ""},
		{"private 192.168/16", "192.168.0.0", "192.168.255.255", destination.ReasonPrivate, "", ""},
		{"AS112 direct", "192.175.48.0", "192.175.48.255", "", "", ""},
		{"benchmark", "198.18.0.0", "198.19.255.255", destination.ReasonBenchmark, "", ""},
		{"TEST-NET-2", "198.51.100.0", "198.51.100.255", destination.ReasonDocumentation, "", ""},
		{"TEST-NET-3", "203.0.113.0", "203.0.113.255", destination.ReasonDocumentation, "", ""},
		{"multicast", "224.0.0.0", "239.255.255.255", destination.ReasonMulticast, "", destination.ReasonReserved},
		{"class E", "240.0.0.0", "255.255.255.254", destination.ReasonReserved, destination.ReasonMulticast, destination.ReasonBroadcast},
		{"broadcast", "255.255.255.255", "255.255.255.255", destination.ReasonBroadcast, destination.ReasonReserved, "-"},

		{"IPv6 unspecified", "::", "::", destination.ReasonUnspecified, "-", destination.ReasonLoopback},
		{"IPv6 loopback", "::1", "::1", destination.ReasonLoopback, destination.ReasonUnspecified, destination.ReasonUnspecified},
		{"compatible with 127/8", "::7f00:0", "::7fff:ffff", destination.ReasonLoopback, "", ""},
		{"behind the compatible ones", "::1:0:0", "::fffe:ffff:ffff", destination.ReasonReserved, destination.ReasonBroadcast, destination.ReasonUnspecified},
		{"translated, RFC 2765", "::ffff:0:0:0", "::ffff:0:ffff:ffff", destination.ReasonReserved, destination.ReasonReserved, destination.ReasonReserved},
		{"NAT64 of 10/8", "64:ff9b::a00:0", "64:ff9b::aff:ffff", destination.ReasonPrivate, "", ""},
		{"NAT64, whole", "64:ff9b::", "64:ff9b::ff:ffff", destination.ReasonUnspecified, destination.ReasonReserved, ""},
		{"local NAT64", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", destination.ReasonPrivate, destination.ReasonReserved, destination.ReasonReserved},
		{"discard", "100::", "100::ffff:ffff:ffff:ffff", destination.ReasonDiscard, destination.ReasonReserved, destination.ReasonReserved},
		{"dummy prefix, RFC 9780", "100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", destination.ReasonReserved, destination.ReasonDiscard, destination.ReasonReserved},
		{"protocol assignments, IPv6", "2001:1::", "2001:1:ffff:ffff:ffff:ffff:ffff:ffff", destination.ReasonReserved, "-", destination.ReasonBenchmark},
		{"benchmark, IPv6", "2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", destination.ReasonBenchmark, destination.ReasonReserved, destination.ReasonReserved},
		{"AMT, IPv6", "2001:3::", "2001:3:ffff:ffff:ffff:ffff:ffff:ffff", "", destination.ReasonReserved, destination.ReasonReserved},
		{"AS112, IPv6", "2001:4:112::", "2001:4:112:ffff:ffff:ffff:ffff:ffff", "", destination.ReasonReserved, destination.ReasonReserved},
		{"ORCHID and the rest", "2001:5::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", destination.ReasonReserved, destination.ReasonReserved, ""},
		{"documentation", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", destination.ReasonDocumentation, "", ""},
		{"6to4 of 192.168/16", "2002:c0a8::", "2002:c0a8:ffff:ffff:ffff:ffff:ffff:ffff", destination.ReasonPrivate, "", ""},
		{"AS112 direct, IPv6", "2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", "", "", ""},
		{"documentation, RFC 9637", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", destination.ReasonDocumentation, "", ""},
		{"below global unicast", "200::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", destination.ReasonReserved, destination.ReasonReserved, ""},
		{"above global unicast, with SRv6", "4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", destination.ReasonReserved, "", destination.ReasonPrivate},
		{"unique local before AWS", "fc00::", "fd00:ec2::253", destination.ReasonPrivate, destination.ReasonReserved, destination.ReasonMetadata},
		{"AWS's metadata", "fd00:ec2::254", "fd00:ec2::254", destination.ReasonMetadata, destination.ReasonPrivate, destination.ReasonPrivate},
		{"Google's metadata", "fd20:ce::254", "fd20:ce::254", destination.ReasonMetadata, destination.ReasonPrivate, destination.ReasonPrivate},
		{"unique local, end", "fd20:ce::255", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", destination.ReasonPrivate, destination.ReasonMetadata, destination.ReasonReserved},
		{"link-local, IPv6", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", destination.ReasonLinkLocal, destination.ReasonReserved, destination.ReasonPrivate},
		{"site-local", "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", destination.ReasonPrivate, destination.ReasonLinkLocal, destination.ReasonMulticast},
		{"multicast, IPv6", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", destination.ReasonMulticast, destination.ReasonPrivate, "-"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			first, last := netip.MustParseAddr(tc.first), netip.MustParseAddr(tc.last)
			check := func(addr netip.Addr, want mfpgate.Reason) {
				t.Helper()
				if got := destination.Judge(addr); want != "-" && got != want {
					t.Errorf("Judge(%s) = %q, want %q", addr, got, want)
				}
			}
			check(first, tc.want)
			check(last, tc.want)
			check(first.Prev(), tc.below)
			check(last.Next(), tc.over)
		})
	}
}

func TestJudgeEmbedded(t *testing.T) {
	for _, tc := range []struct {
		rule, addr string
		want       mfpgate.Reason
	}{
		{"mapped loopback", "::ffff:127.0.0.1", destination.ReasonLoopback},
		{"mapped public", "::ffff:8.8.8.8", ""},
		{"mapped with a zone", "::ffff:127.0.0.1%eth0", destination.ReasonLoopback},
		{"a zone does not hide link-local", "fe80::1%eth0", destination.ReasonLinkLocal},
		{"NAT64 of metadata", "64:ff9b::169.254.169.254", destination.ReasonMetadata},
		{"NAT64 of a public address: DNS64 sites", "64:ff9b::8.8.8.8", ""},
		{"Teredo with a private server", "2001:0:c0a8:101::f7f7:f7f7", destination.ReasonPrivate},
		{"Teredo with a private client, inverted", "2001:0:808:808::f5ff:fffe", destination.ReasonPrivate},
		{"Teredo with both public", "2001:0:808:808::f7f7:f7f7", ""},
		{"ISATAP of a private address", "2400:1::5efe:10.0.0.1", destination.ReasonPrivate},
		{"ISATAP with the universal bit", "2400:1::200:5efe:10.0.0.1", destination.ReasonPrivate},
		{"ISATAP of a public address", "2400:1::200:5efe:8.8.8.8", ""},
		{"ISATAP inside 6to4", "2002:808:808::5efe:10.0.0.1", destination.ReasonPrivate},
		{"no ISATAP", "2400:1::100:5efe:10.0.0.1", ""},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			if got := destination.Judge(netip.MustParseAddr(tc.addr)); got != tc.want {
				t.Errorf("Judge(%s) = %q, want %q", tc.addr, got, tc.want)
			}
		})
	}
	if got := destination.Judge(netip.Addr{}); got != destination.ReasonUnspecified {
		t.Errorf("the zero Addr is %q", got)
	}
}

func FuzzJudge(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "8.8.8.8", "10.0.0.1", "0.0.0.0", "255.255.255.255", "169.254.169.254", "192.88.99.1"} {
		b := netip.MustParseAddr(s).As4()
		f.Add(b[:], []byte{0x24, 0, 0, 1, 0, 0, 0, 0})
	}
	f.Fuzz(func(t *testing.T, b, network []byte) {
		if len(b) != 4 || len(network) != 8 {
			return
		}
		v4 := netip.AddrFrom4([4]byte(b))
		want := destination.Judge(v4)
		form := func(put func(*[16]byte)) netip.Addr {
			var a [16]byte
			put(&a)
			return netip.AddrFrom16(a)
		}
		forms := map[string]netip.Addr{
			"mapped": netip.AddrFrom16(v4.As16()),
			"nat64": form(func(a *[16]byte) {
				copy(a[:], []byte{0, 0x64, 0xff, 0x9b})
				copy(a[12:], b)
			}),
			"6to4": form(func(a *[16]byte) {
				copy(a[:], []byte{0x20, 0x02})
				copy(a[2:], b)
			}),
			"teredo client of a public server": form(func(a *[16]byte) {
				copy(a[:], []byte{0x20, 0x01, 0, 0, 8, 8, 8, 8})
				for i := range b {
					a[12+i] = ^b[i]
				}
			}),
			"teredo server of a public client": form(func(a *[16]byte) {
				copy(a[:], []byte{0x20, 0x01, 0, 0})
				copy(a[4:], b)
				copy(a[12:], []byte{0xf7, 0xf7, 0xf7, 0xf7})
			}),
		}
		isatap := func(iid0 byte) netip.Addr {
			return form(func(a *[16]byte) {
				copy(a[:], []byte{0x24, 0, 0, 1})
				copy(a[8:], []byte{iid0, 0, 0x5e, 0xfe})
				copy(a[12:], b)
			})
		}
		forms["isatap"], forms["isatap, universal"] = isatap(0), isatap(2)
		if compatible := form(func(a *[16]byte) { copy(a[12:], b) }); b[0] != 0 {
			forms["compatible"] = compatible
		}
		for name, addr := range forms {
			if got := destination.Judge(addr); got != want {
				t.Errorf("%s %s: %q, but %s is %q", name, addr, got, v4, want)
			}
		}
		// Under any network an embedded address never makes the verdict milder.
		var a [16]byte
		copy(a[:], network)
		copy(a[8:], []byte{0, 0, 0x5e, 0xfe})
		copy(a[12:], b)
		if got := destination.Judge(netip.AddrFrom16(a)); got == "" && want != "" {
			t.Errorf("%s is public, but %s is %q", netip.AddrFrom16(a), v4, want)
		}
	})
}

func BenchmarkJudge(b *testing.B) {
	for _, s := range []string{"93.184.215.14", "2606:2800:21f:cb07::1"} {
		addr := netip.MustParseAddr(s)
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				destination.Judge(addr)
			}
		})
	}
}
