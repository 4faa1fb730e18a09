package hello_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mfpgate/mfpgate/proxy/hello"
	"github.com/mfpgate/mfpgate/tests/need"
)

// goHello returns the first flight of crypto/tls.
func goHello(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	c := &recorder{}
	_ = tls.Client(c, cfg).Handshake() // fails as soon as it reads
	return c.Bytes()
}

// recorder is a connection that keeps what is written and has nothing to read.
type recorder struct{ bytes.Buffer }

func (*recorder) Close() error                     { return nil }
func (*recorder) LocalAddr() net.Addr              { return nil }
func (*recorder) RemoteAddr() net.Addr             { return nil }
func (*recorder) SetDeadline(time.Time) error      { return nil }
func (*recorder) SetReadDeadline(time.Time) error  { return nil }
func (*recorder) SetWriteDeadline(time.Time) error { return nil }
func (*recorder) Read([]byte) (int, error)         { return 0, net.ErrClosed }

// opensslHello returns the first flight of openssl s_client.
func opensslHello(t testing.TB, args ...string) []byte {
	t.Helper()
	openssl := need.Program(t, "openssl")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, openssl, append([]string{"s_client", "-connect", l.Addr().String()}, args...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = cmd.Wait()
	}()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var b []byte
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		b = append(b, buf[:n]...)
		if _, state := hello.Parse(b); state != hello.NeedMore || err != nil {
			return b
		}
	}
}

// ext is one extension; message a ClientHello of those extensions; records cuts it into records of n bytes.
func ext(kind uint16, body string) string {
	return string(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, kind), uint16(len(body)))) + body
}

func vector16(s string) string { return ext(0, s)[2:] }

func sni(name string) string { return ext(0, vector16("\x00"+vector16(name))) }

func message(extensions ...string) string {
	all := strings.Join(extensions, "")
	body := "\x03\x03" + strings.Repeat("r", 32) + "\x00" + vector16("\x13\x01") + "\x01\x00" + vector16(all)
	return head(body)
}

func head(body string) string {
	return string([]byte{1, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}) + body
}

func records(message string, n int) []byte {
	var b []byte
	for message != "" {
		part := message[:min(n, len(message))]
		message = message[len(part):]
		b = append(b, "\x16\x03\x01"+vector16(part)...)
	}
	return b
}

func TestRealClients(t *testing.T) {
	named := hello.Result{ServerName: "cloud.example", HasServerName: true}
	for _, tc := range []struct {
		rule  string
		hello func() []byte
		want  hello.Result
	}{
		{"crypto/tls, post-quantum", func() []byte { return goHello(t, &tls.Config{ServerName: "cloud.example"}) }, named},
		{"crypto/tls 1.2", func() []byte {
			return goHello(t, &tls.Config{ServerName: "Cloud.Example", MaxVersion: tls.VersionTLS12})
		}, named},
		{"crypto/tls without a name", func() []byte { return goHello(t, &tls.Config{InsecureSkipVerify: true}) }, hello.Result{}},
		{"openssl", func() []byte { return opensslHello(t, "-servername", "cloud.example") }, named},
		{"openssl 1.2", func() []byte { return opensslHello(t, "-tls1_2", "-servername", "cloud.example") }, named},
		{"openssl without a name", func() []byte { return opensslHello(t, "-noservername") }, hello.Result{}},
		{"openssl with a literal", func() []byte { return opensslHello(t, "-servername", "192.0.2.1") },
			hello.Result{HasServerName: true, ServerName: "192.0.2.1"}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			b := tc.hello()
			for n := range b {
				if _, state := hello.Parse(b[:n:n]); state != hello.NeedMore {
					t.Fatalf("cut at %d of %d: %s", n, len(b), state)
				}
			}
			got, state := hello.Parse(b)
			if diff := cmp.Diff(tc.want, got); diff != "" || state != hello.Hello {
				t.Errorf("%s %s", state, diff)
			}
			// The same message in records of one byte, and with early data behind it.
			var inner string
			for rest := b; len(rest) > 5; {
				n := 5 + int(binary.BigEndian.Uint16(rest[3:]))
				inner += string(rest[5:n])
				rest = rest[n:]
			}
			for _, size := range []int{1, 2, 3, 7, 100} {
				cut := append(records(inner, size), "early data"...)
				got, state := hello.Parse(cut)
				if diff := cmp.Diff(tc.want, got); diff != "" || state != hello.Hello {
					t.Errorf("records of %d: %s %s", size, state, diff)
				}
			}
		})
	}
}

func TestParse(t *testing.T) {
	grease := ext(0x0a0a, "") + ext(0xdada, "\x00")
	bad := hello.Result{HasServerName: true, BadServerName: true}
	named := hello.Result{HasServerName: true, ServerName: "cloud.example"}
	filler := func(total int) string { // a hello whose one record takes total bytes
		return message(sni("cloud.example"), ext(21, strings.Repeat("\x00", total-5-len(message(sni("cloud.example"), ext(21, ""))))))
	}
	for _, tc := range []struct {
		rule  string
		in    string
		state hello.State
		want  hello.Result
	}{
		{"nothing yet", "", hello.NeedMore, hello.Result{}},
		{"HTTP", "GET / HTTP/1.1\r\n", hello.NotTLS, hello.Result{}},
		{"SSH", "SSH-2.0-OpenSSH", hello.NotTLS, hello.Result{}},
		{"SSL 2.0 compatible hello", "\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10", hello.NotTLS, hello.Result{}},
		{"a version that is not TLS", "\x16\x02", hello.NotTLS, hello.Result{}},
		{"an alert", "\x15\x03\x01\x00\x02\x01\x00", hello.NotTLS, hello.Result{}},
		{"an empty record", "\x16\x03\x01\x00\x00", hello.Malformed, hello.Result{}},
		{"a record beyond 2^14", "\x16\x03\x01\x40\x01", hello.Malformed, hello.Result{}},
		{"a ServerHello", "\x16\x03\x03\x00\x40\x02", hello.Malformed, hello.Result{}},
		{"another record type in between", string(records(message(), 20)[:25]) + "\x14\x03\x01", hello.Malformed, hello.Result{}},
		{"the largest", string(records(filler(hello.MaxLength), hello.MaxLength)), hello.Hello, named},
		{"one byte more", string(records(filler(hello.MaxLength+1), 1<<14)), hello.TooLarge, hello.Result{}},
		{"a length beyond the bound is refused at once", "\x16\x03\x01\x00\x10\x01\x01\x00\x00", hello.TooLarge, hello.Result{}},
		{"record headers count", string(records(filler(hello.MaxLength-100), 1)), hello.TooLarge, hello.Result{}},

		{"no extensions at all", string(records(head("\x03\x03"+strings.Repeat("r", 32)+"\x00\x00\x02\x13\x01\x01\x00"), 999)), hello.Hello, hello.Result{}},
		{"empty extensions", string(records(message(), 999)), hello.Hello, hello.Result{}},
		{"GREASE around the name", string(records(message(grease, sni("cloud.example"), grease), 999)), hello.Hello, named},
		{"upper case", string(records(message(sni("CLOUD.Example")), 999)), hello.Hello, named},
		{"the root's dot", string(records(message(sni("cloud.example.")), 999)), hello.Hello, named},
		{"ECH", string(records(message(sni("cloud.example"), ext(0xfe0d, "\x00")), 999)), hello.Hello,
			hello.Result{HasServerName: true, ServerName: "cloud.example", ECH: true}},
		{"an unknown name type is passed over", string(records(message(ext(0, vector16("\x07"+vector16("x")+"\x00"+vector16("cloud.example")))), 999)), hello.Hello, named},
		{"an IPv4 literal", string(records(message(sni("192.0.2.1")), 999)), hello.Hello, hello.Result{HasServerName: true, ServerName: "192.0.2.1"}},
		{"a short IPv4 spelling", string(records(message(sni("127.1")), 999)), hello.Hello, bad},
		{"an IPv6 literal", string(records(message(sni("2001:db8::1")), 999)), hello.Hello, hello.Result{HasServerName: true, ServerName: "2001:db8::1"}},
		{"a NUL inside", string(records(message(sni("cloud.example\x00.evil.example")), 999)), hello.Hello, bad},
		{"a U-label", string(records(message(sni("bücher.example")), 999)), hello.Hello, bad},
		{"full-width letters are not mapped", string(records(message(sni("ｃloud.example")), 999)), hello.Hello, bad},
		{"a space", string(records(message(sni("cloud .example")), 999)), hello.Hello, bad},
		{"255 bytes", string(records(message(sni(strings.Repeat("a", 255))), 999)), hello.Hello, bad},
		{"more than any name", string(records(message(sni(strings.Repeat("a.", 500))), 9999)), hello.Hello, bad},

		{"the name twice", string(records(message(sni("a.example"), sni("b.example")), 999)), hello.Malformed, hello.Result{}},
		{"two host names in one list", string(records(message(ext(0, vector16("\x00"+vector16("a.example")+"\x00"+vector16("b.example")))), 999)), hello.Malformed, hello.Result{}},
		{"an empty extension", string(records(message(ext(0, "")), 999)), hello.Malformed, hello.Result{}},
		{"an empty list", string(records(message(ext(0, "\x00\x00")), 999)), hello.Malformed, hello.Result{}},
		{"an empty name", string(records(message(sni("")), 999)), hello.Malformed, hello.Result{}},
		{"a list longer than its extension", string(records(message(ext(0, "\x00\x09\x00\x00\x01a"), ext(5, "12345")), 999)), hello.Malformed, hello.Result{}},
		{"bytes behind the list", string(records(message(ext(0, vector16("\x00"+vector16("a.example"))+"x")), 999)), hello.Malformed, hello.Result{}},
		{"a name longer than its list", string(records(message(ext(0, vector16("\x00\x00\x09a")), ext(5, "12345678")), 999)), hello.Malformed, hello.Result{}},
		{"an extension longer than the message", string(records(message("\x00\x05\x00\x09x"), 999)), hello.Malformed, hello.Result{}},
		{"half an extension header", string(records(message("\x00\x05\x00"), 999)), hello.Malformed, hello.Result{}},
		{"a session id beyond 32", string(records(head("\x03\x03"+strings.Repeat("r", 32)+"\x21"+strings.Repeat("s", 33)+"\x00\x02\x13\x01\x01\x00"), 999)), hello.Malformed, hello.Result{}},
		{"odd cipher suites", string(records(head("\x03\x03"+strings.Repeat("r", 32)+"\x00\x00\x03\x13\x01\x00\x01\x00"), 999)), hello.Malformed, hello.Result{}},
		{"no compression method", string(records(head("\x03\x03"+strings.Repeat("r", 32)+"\x00\x00\x02\x13\x01\x00"), 999)), hello.Malformed, hello.Result{}},
		{"a hello too short for its fields", string(records(head("\x03\x03rrrr"), 999)), hello.Malformed, hello.Result{}},
		{"an empty hello", string(records(head(""), 999)), hello.Malformed, hello.Result{}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			got, state := hello.Parse([]byte(tc.in))
			if diff := cmp.Diff(tc.want, got); diff != "" || state != tc.state {
				t.Errorf("%s, want %s %s", state, tc.state, diff)
			}
		})
	}
}

func TestParseAllocatesOnlyTheName(t *testing.T) {
	for _, tc := range []struct {
		name string
		want float64
	}{
		{"cloud.example", 2}, // the name, and netip's refusal of it inside ParseHost
		{"", 0},
	} {
		b := goHello(t, &tls.Config{ServerName: tc.name, InsecureSkipVerify: true})
		if n := testing.AllocsPerRun(100, func() { hello.Parse(b) }); n > tc.want {
			t.Errorf("%q: %v allocations, want at most %v", tc.name, n, tc.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(goHello(f, &tls.Config{ServerName: "cloud.example"}))
	f.Add(goHello(f, &tls.Config{ServerName: "cloud.example", MaxVersion: tls.VersionTLS12}))
	f.Add(records(message(sni("192.0.2.1"), ext(0xfe0d, "x")), 3))
	f.Add([]byte("\x16\x03\x01\x00\x10\x01\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		want, final := hello.Parse(b)
		if final == hello.NeedMore && len(b) >= hello.MaxLength {
			t.Fatalf("asks for more than %d bytes", hello.MaxLength)
		}
		if want.HasServerName == (want.ServerName == "" && !want.BadServerName) || want.ServerName != strings.ToLower(want.ServerName) {
			t.Errorf("inconsistent: %+v", want)
		}
		// A verdict on a prefix holds for the whole; before it there is only NeedMore.
		settled := false
		for n := 0; n <= len(b); n += 1 + len(b)/64 {
			got, state := hello.Parse(b[:n:n])
			if state == hello.NeedMore {
				if settled {
					t.Fatalf("needs more at %d after a verdict", n)
				}
				continue
			}
			settled = true
			if state != final || got != want {
				t.Fatalf("at %d of %d: %s %+v, then %s %+v", n, len(b), state, got, final, want)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, tc := range []struct {
		name string
		size int
	}{{"one record", 16384}, {"records of one byte", 1}} {
		in := records(string(goHello(b, &tls.Config{ServerName: "cloud.example"})[5:]), tc.size)
		b.Run(tc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				hello.Parse(in)
			}
		})
	}
}
