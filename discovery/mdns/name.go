package mdns

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/miekg/dns"
)

// lower makes a key of a name. Names come escaped and thus in ASCII, and only ASCII has no case in DNS (RFC 6762 §16).
func lower(name string) string { return strings.ToLower(name) }

// serviceOf is the index of the service that a name is, or -1.
func (q *Querier) serviceOf(name string) int {
	for i, s := range q.services {
		if len(name) == len(s.name) && lower(name) == s.name {
			return i
		}
	}
	return -1
}

// instanceOf says whether a name is one label and the service (RFC 6763 §4.1).
func instanceOf(name, service string) bool {
	at, end := dns.NextLabel(name, 0)
	return !end && at > 1 && lower(name[at:]) == service
}

// labelText is an instance's label as people read it: UTF-8 without the escapes of a zone file. Bytes that are no text stay
// escaped, so that two names never become one.
func labelText(name string) string {
	at, _ := dns.NextLabel(name, 0)
	raw := unescape(name[:max(at-1, 0)])
	var b strings.Builder
	for i := 0; i < len(raw); {
		r, size := utf8.DecodeRuneInString(raw[i:])
		if r == utf8.RuneError && size == 1 || unicode.IsControl(r) {
			for _, c := range []byte(raw[i : i+size]) {
				b.WriteString(`\` + strconv.Itoa(1000 + int(c))[1:])
			}
		} else {
			b.WriteString(raw[i : i+size])
		}
		i += size
	}
	return b.String()
}

// unescape undoes RFC 1035 §5.1: \DDD and \X.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b = append(b, s[i])
			continue
		}
		if i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 10, 8); err == nil {
				b = append(b, byte(n))
				i += 3
				continue
			}
		}
		i++
		b = append(b, s[i])
	}
	return string(b)
}

// textData joins the strings of a TXT record, each behind its length, unless they are too much.
func textData(txt []string) (data string, ok bool) {
	var b strings.Builder
	for _, t := range txt {
		t = unescape(t)
		if len(t) > 255 || b.Len()+1+len(t) > maxTXT {
			return "", false
		}
		b.WriteByte(byte(len(t)))
		b.WriteString(t)
	}
	return b.String(), true
}

// textValues takes them apart: the keys in lower case, and of each the first value (RFC 6763 §6.4).
func textValues(data string) map[string]string {
	values := map[string]string{}
	for len(data) > 0 {
		n := min(int(data[0]), len(data)-1)
		key, value, _ := strings.Cut(data[1:1+n], "=")
		data = data[1+n:]
		key = strings.ToLower(key)
		if _, there := values[key]; !there && key != "" {
			values[key] = value
		}
	}
	return values
}
