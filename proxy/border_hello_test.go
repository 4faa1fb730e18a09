package proxy_test

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy"
)

// hello is the first flight of Go's TLS client.
func hello(t *testing.T, config *tls.Config) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	go func() { _ = tls.Client(near, config).Handshake() }() // ends with the pipe
	head := make([]byte, 5)
	if _, err := io.ReadFull(far, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(far, body); err != nil {
		t.Fatal(err)
	}
	return append(head, body...)
}

// records carries the message of one TLS record in many of n bytes each.
func records(one []byte, n int) (many []byte) {
	for rest := one[5:]; len(rest) > 0; {
		part := rest[:min(n, len(rest))]
		rest = rest[len(part):]
		many = append(many, one[0], one[1], one[2], byte(len(part)>>8), byte(len(part)))
		many = append(many, part...)
	}
	return many
}

// covered is a list of one configuration for Encrypted Client Hello under a public name (RFC 9849 §4).
func covered(t *testing.T, public string) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sized := func(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }
	c := append([]byte{1, 0, 0x20}, sized(key.PublicKey().Bytes())...) // config_id, DHKEM(X25519)
	c = append(c, sized([]byte{0, 1, 0, 1})...)                        // HKDF-SHA256, AES-128-GCM
	c = append(c, 64, byte(len(public)))
	c = append(c, public...)
	c = append(c, 0, 0)
	return sized(append([]byte{0xfe, 0x0d}, sized(c)...))
}

// However a ClientHello comes, the name in it is judged; and what cannot be read is not let through for a device whose
// region was changed.
func TestEveryHelloIsJudged(t *testing.T) {
	w := newWorld(t, nil)
	named := func(name string) []byte { return hello(t, &tls.Config{ServerName: name}) }
	ech := func(public, secret string) []byte {
		return hello(t, &tls.Config{ServerName: secret, MinVersion: tls.VersionTLS13, EncryptedClientHelloConfigList: covered(t, public)})
	}
	broken := named(w.front.name)
	broken[5+4+2+32] = 33 // a session id longer than any
	unmanaged := map[string]mfpgate.Route{w.front.name: {Region: "none"}}
	for _, tt := range []struct {
		rule    string
		routes  map[string]mfpgate.Route
		first   []byte
		segment int // bytes a write; 0: all
		cut     mfpgate.Reason
	}{
		{"its own name", block(w.us), named(w.front.name), 0, ""},
		{"its own name, in many segments", block(w.us), named(w.front.name), 1, ""},
		{"another region's name", block(w.us), named(w.us.name), 0, mfpgate.RegionHidden},
		{"another region's name, in many segments", block(w.us), named(w.us.name), 1, mfpgate.RegionHidden},
		{"its own name, in many records", block(w.us), records(named(w.front.name), 7), 0, ""},
		{"another region's name, in many records", block(w.us), records(named(w.us.name), 7), 0, mfpgate.RegionHidden},
		{"another region's name, in many records and segments", block(w.us), records(named(w.us.name), 1), 3, mfpgate.RegionHidden},
		{"the outer name of an encrypted hello", block(w.us), ech(w.us.name, "secret.cloud.test"), 0, mfpgate.RegionHidden},
		{"the inner name of an encrypted hello is not seen", block(w.us), ech(w.front.name, w.us.name), 0, ""},
		{"a malformed hello", block(w.us), broken, 0, proxy.BadHello},
		{"half a hello", block(w.us), named(w.us.name)[:100], 0, proxy.BadHello},
		{"a malformed hello of a device that is not managed", unmanaged, broken, 0, ""},
		{"half a hello of a device that is not managed", unmanaged, append(named(w.front.name)[:50], 0), 0, "idle"},
		{"no TLS at all", block(w.us), []byte("GET / HTTP/1.0\r\n\r\n"), 0, ""},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			w.atlas.set(tt.routes)
			before := w.metrics.Value("mfpgate_relay_tunnels_total", "outcome", string(tt.cut))
			c := w.tunnel(t, "127.0.0.2", w.front.secure())
			if tt.cut == "idle" {
				w.passesIncomplete(t, c, tt.first)
				return
			}
			for rest := tt.first; len(rest) > 0; {
				n := len(rest)
				if tt.segment > 0 {
					n = min(n, tt.segment)
				}
				if _, err := c.Write(rest[:n]); err != nil {
					break // it is cut before it was all sent
				}
				rest = rest[n:]
			}
			if tt.cut != "" {
				c.ends(t)
				wait(t, "the tunnel ended for its hello", func() bool {
					return w.metrics.Value("mfpgate_relay_tunnels_total", "outcome", string(tt.cut)) == before+1
				})
				return
			}
			if _, err := c.in.ReadByte(); err != nil { // the server's hello, or its alert
				t.Errorf("nothing comes back: %v", err)
			}
		})
	}
}

// passesIncomplete expects that what began like a hello is let through once its time is over: the origin, told of the end
// of the stream, answers something or ends the session itself.
func (w *world) passesIncomplete(t *testing.T, c caller, first []byte) {
	t.Helper()
	before := w.metrics.Value("mfpgate_relay_tunnels_total", "outcome", string(proxy.BadHello))
	if _, err := c.Write(first); err != nil {
		t.Fatal(err)
	}
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_, err := io.Copy(io.Discard, c.in)
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		t.Fatal("the origin does not hear of it")
	}
	if w.metrics.Value("mfpgate_relay_tunnels_total", "outcome", string(proxy.BadHello)) != before {
		t.Error("the tunnel is cut for its hello")
	}
}
