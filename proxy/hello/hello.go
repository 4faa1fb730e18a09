package hello

import "github.com/mfpgate/mfpgate"

// MaxLength is how many bytes of the stream a ClientHello may take, record headers included. Hellos with post-quantum key
// shares take about 2 KiB.
const MaxLength = 16 << 10

// State is what the bytes so far are.
type State uint8

// The states. Only NeedMore can change with more bytes.
const (
	NeedMore  State = iota // a proper prefix of what may be a ClientHello; always less than MaxLength bytes
	NotTLS                 // no TLS handshake record; an SSL 2.0 compatible hello (RFC 5246 appendix E.2) counts as this
	Hello                  // a whole ClientHello, perhaps with more bytes behind it
	Malformed              // a TLS handshake record that begins no well-formed ClientHello
	TooLarge               // a ClientHello of more than MaxLength bytes
)

// String names the state as logs do.
func (s State) String() string {
	switch s {
	case NeedMore:
		return "need-more"
	case NotTLS:
		return "not-tls"
	case Hello:
		return "hello"
	case Malformed:
		return "malformed"
	default:
		return "too-large"
	}
}

// Result is what a ClientHello says of its destination.
type Result struct {
	// ServerName is in the form of mfpgate.Host's String; "" if the hello has none or a bad one. RFC 6066 section 3 wants a
	// name, but OpenSSL's s_client and devices built like it put the address there that they connect to.
	ServerName string
	// HasServerName says that there is a host_name in a server_name extension (RFC 6066 section 3), good or bad.
	HasServerName bool
	// BadServerName says that the host_name is neither a DNS name nor an address. It matches no host.
	BadServerName bool
	// ECH says that there is an encrypted_client_hello extension: ServerName may be a public name that covers the true
	// one. Browsers send the extension as GREASE too, so it proves nothing.
	ECH bool
}

const (
	recordHandshake = 22
	recordHeader    = 5
	maxFragment     = 1 << 14 // RFC 8446 section 5.1
	messageHeader   = 4
	clientHello     = 1
	extServerName   = 0
	extECH          = 0xfe0d // IANA, TLS ExtensionType Values
	hostName        = 0
	maxName         = 255 // no DNS name is longer in any form
)

// Parse reads the beginning of a TLS client's stream. It allocates nothing but the server name, which mfpgate.ParseHost
// judges, so that one definition says what a host is.
func Parse(b []byte) (Result, State) {
	length, state := measure(b)
	if state != Hello {
		return Result{}, state
	}
	c := cursor{b: b, left: length}
	result := c.hello()
	if c.bad {
		return Result{}, Malformed
	}
	return result, Hello
}

// measure walks the records up to the end of the first handshake message and returns its length. Every verdict on a prefix
// but NeedMore holds for all that begins with it, so bytes are judged as soon as they are there.
func measure(b []byte) (length int, state State) {
	var head [messageHeader]byte
	have := 0 // bytes of the message in the records before pos
	for pos := 0; ; {
		record := b[pos:]
		if len(record) > 0 && record[0] != recordHandshake || len(record) > 1 && record[1] != 3 {
			if pos == 0 {
				return 0, NotTLS
			}
			return 0, Malformed // RFC 8446 section 5.1: nothing comes between the records of one message
		}
		if len(record) < recordHeader {
			return 0, wait(b)
		}
		fragment := int(record[3])<<8 | int(record[4])
		if fragment == 0 || fragment > maxFragment {
			return 0, Malformed
		}
		there := min(fragment, len(record)-recordHeader)
		if have < messageHeader {
			copy(head[have:], record[recordHeader:recordHeader+there])
		}
		if have+there > 0 && head[0] != clientHello {
			return 0, Malformed
		}
		if have+there >= messageHeader {
			length = messageHeader + (int(head[1])<<16 | int(head[2])<<8 | int(head[3]))
			if pos+recordHeader+length-have > MaxLength {
				return 0, TooLarge
			}
			if have+there >= length {
				return length, Hello
			}
		}
		if there < fragment {
			return 0, wait(b)
		}
		have += fragment
		pos += recordHeader + fragment
	}
}

func wait(b []byte) State {
	if len(b) >= MaxLength {
		return TooLarge
	}
	return NeedMore
}

// cursor reads one handshake message across records that measure has walked. After a read beyond the message bad is set
// and everything reads as zero.
type cursor struct {
	b      []byte
	record int // left of the current record
	left   int // left of the message
	bad    bool
}

func (c *cursor) fail() {
	c.bad = true
	c.left = 0
}

func (c *cursor) skip(n int) {
	if n > c.left {
		c.fail()
		return
	}
	c.left -= n
	for n > 0 {
		c.enter()
		step := min(n, c.record)
		c.b = c.b[step:]
		c.record -= step
		n -= step
	}
}

// enter steps over the next record's header if the current record is used up.
func (c *cursor) enter() {
	if c.record == 0 {
		c.record = int(c.b[3])<<8 | int(c.b[4])
		c.b = c.b[recordHeader:]
	}
}

func (c *cursor) uint8() int {
	if c.left == 0 {
		c.fail()
		return 0
	}
	c.enter()
	v := c.b[0]
	c.skip(1)
	return int(v)
}

func (c *cursor) uint16() int { return c.uint8()<<8 | c.uint8() }

// vector skips a vector whose length n must be within limits and even if its elements are pairs.
func (c *cursor) vector(n, least, most, element int) {
	if n < least || n > most || n%element != 0 {
		c.fail()
		return
	}
	c.skip(n)
}

// hello reads RFC 8446 section 4.1.2, which is RFC 5246 section 7.4.1.2 too.
func (c *cursor) hello() (r Result) {
	c.skip(messageHeader + 2 + 32) // legacy_version and random
	c.vector(c.uint8(), 0, 32, 1)  // legacy_session_id
	c.vector(c.uint16(), 2, 1<<16-2, 2)
	c.vector(c.uint8(), 1, 255, 1) // legacy_compression_methods
	if c.left == 0 {
		return r // TLS 1.2 and older may come without extensions
	}
	if c.uint16() != c.left {
		c.fail()
	}
	named := false
	for c.left > 0 {
		kind, n := c.uint16(), c.uint16()
		if n > c.left {
			c.fail()
			return r
		}
		stop := c.left - n
		switch kind {
		case extServerName:
			if named { // RFC 8446 section 4.2: no extension comes twice
				c.fail()
				return r
			}
			named = true
			c.serverNames(stop, &r)
			if c.bad {
				return r
			}
		case extECH:
			r.ECH = true
		}
		c.skip(c.left - stop)
	}
	return r
}

// serverNames reads RFC 6066 section 3 up to where the message has stop bytes left. Names of unknown types are taken to
// have a two-byte length, as every implementation does.
func (c *cursor) serverNames(stop int, r *Result) {
	if n := c.uint16(); n == 0 || c.left-n != stop {
		c.fail()
	}
	for c.left > stop {
		kind, n := c.uint8(), c.uint16()
		if n == 0 || n > c.left-stop || kind == hostName && r.HasServerName {
			c.fail()
			return
		}
		if kind != hostName {
			c.skip(n)
			continue
		}
		r.HasServerName = true
		r.ServerName = c.name(n)
		r.BadServerName = r.ServerName == ""
	}
	if c.left != stop {
		c.fail()
	}
}

// name returns the next n bytes as a host, or "".
func (c *cursor) name(n int) string {
	if n > maxName {
		c.skip(n)
		return ""
	}
	var text [maxName]byte
	ascii := true
	for i := range n {
		char := c.uint8()
		if 'A' <= char && char <= 'Z' {
			char += 'a' - 'A'
		}
		// RFC 6066: the name is ASCII, in A-labels. Mapping U-labels here would let two spellings of one name through.
		ascii = ascii && char < 0x80
		text[i] = byte(char)
	}
	if !ascii {
		return ""
	}
	host, err := mfpgate.ParseHost(string(text[:n]))
	if err != nil {
		return ""
	}
	return host.String()
}
