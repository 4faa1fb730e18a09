package quirk

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// What a text may measure; more is refused.
const (
	MaxText  = 1 << 20 // bytes
	maxDelay = time.Minute
)

// Parse reads a table; name is what errors call it. The error joins one for each line that is wrong: name:line: what, and what to do.
func Parse(r io.Reader, name string) (Table, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxText+1))
	if err != nil {
		return Table{}, fmt.Errorf("read quirks %s: %w", name, err)
	}
	if len(text) > MaxText {
		return Table{}, fmt.Errorf("%s: more than %d bytes; no table of quirks needs them", name, MaxText)
	}
	p := &parser{name: name}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, MaxText+1)
	for lines.Scan() {
		p.line++
		p.read(lines.Text())
	}
	p.end()
	if len(p.errs) > 0 {
		return Table{}, errors.Join(p.errs...)
	}
	return p.table, nil
}

type parser struct {
	name  string
	line  int
	table Table
	errs  []error

	open    bool // an entry has begun
	entry   entry
	first   int  // its line
	body    bool // words of it were read
	faulty  bool // something in it is wrong already: what it lacks is not said as well
	reasons int
}

func (p *parser) fault(line int, format string, args ...any) {
	p.faulty = true
	p.errs = append(p.errs, fmt.Errorf("%s:%d: %s", p.name, line, fmt.Sprintf(format, args...)))
}

func (p *parser) read(line string) {
	if !utf8.ValidString(line) {
		p.fault(p.line, "not UTF-8; write the file as UTF-8")
		return
	}
	line = strings.TrimRightFunc(uncomment(line), unicode.IsSpace)
	if line == "" {
		return
	}
	if !unicode.IsSpace(rune(line[0])) {
		if p.body {
			p.end()
		}
		if !p.open {
			p.open, p.first = true, p.line
			p.entry = entry{place: fmt.Sprintf("%s:%d", p.name, p.line)}
		}
		if m, err := parseMatch(line); err != nil {
			p.fault(p.line, "%v", err)
		} else {
			p.entry.matches = append(p.entry.matches, m)
		}
		return
	}
	if !p.open {
		p.fault(p.line, "no device before it; begin the entry with a line such as 03f0:7c12 at its start")
		return
	}
	p.body = true
	key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
	value = strings.TrimSpace(value)
	if key == "reason" {
		if p.reasons++; p.reasons > 1 {
			p.fault(p.line, "reason: said before in this entry; write it in one line")
		} else if value == "" {
			p.fault(p.line, "reason: empty; say why, and where that is known from")
		}
		p.entry.reason = value
		return
	}
	set, err := parseWord(key, value)
	if err != nil {
		p.fault(p.line, "%v", err)
		return
	}
	for _, w := range p.entry.words {
		if w.key == key {
			p.fault(p.line, "%s: said before in this entry; keep one", key)
		}
	}
	text := key
	if value != "" {
		text += " " + value
	}
	p.entry.words = append(p.entry.words, word{key, text, set})
}

// end closes the entry that is open.
func (p *parser) end() {
	if p.open && !p.faulty {
		switch {
		case len(p.entry.words) == 0:
			p.fault(p.first, "nothing is said of the device; write what it needs under it, such as unidirectional")
		case p.reasons == 0:
			p.fault(p.first, "no reason; say why, and where that is known from: reason …")
		default:
			p.table.entries = append(p.table.entries, p.entry)
		}
	}
	p.open, p.body, p.faulty, p.reasons = false, false, false, 0
}

// uncomment cuts off what stands behind a # that begins the line or follows a blank, but not in quotes. One within a word, as in
// apple/cups#5251, is no comment.
func uncomment(line string) string {
	quoted := false
	for i, c := range line {
		switch {
		case c == '"':
			quoted = !quoted
		case c == '#' && !quoted && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t'):
			return line[:i]
		}
	}
	return line
}

// parseMatch reads vendor:product, then release and name, each of which may be left out.
func parseMatch(line string) (match, error) {
	const form = `write vendor:product in hex, as lsusb shows them: 03f0:7c12, or 03f0:* for all of a vendor`
	id, rest, _ := strings.Cut(strings.Join(strings.Fields(line), " "), " ")
	m := match{text: id, to: 0xffff}
	vendor, product, ok := strings.Cut(id, ":")
	if !ok {
		return m, fmt.Errorf("%q is no device; %s", id, form)
	}
	var err error
	if m.vendor, err = hex16(vendor); err != nil {
		return m, fmt.Errorf("vendor %q: not four digits of hex; %s", vendor, form)
	}
	if m.anyProduct = product == "*"; !m.anyProduct {
		if m.product, err = hex16(product); err != nil {
			return m, fmt.Errorf("product %q: not four digits of hex; %s", product, form)
		}
	}
	if releases, found := strings.CutPrefix(rest, "release "); found {
		releases, rest, _ = strings.Cut(releases, " ")
		m.text += " release " + releases
		from, to, span := strings.Cut(releases, "-")
		if !span {
			to = from
		}
		var errTo error
		m.from, err = hex16(from)
		m.to, errTo = hex16(to)
		if err != nil || errTo != nil || m.from > m.to {
			return m, fmt.Errorf("release %q: write bcdDevice as four digits, or two in order: 0100-0110", releases)
		}
	}
	if rest == "" {
		return m, nil
	}
	name, opened := strings.CutPrefix(rest, `"`)
	name, closed := strings.CutSuffix(name, `"`)
	if !opened || !closed || strings.Contains(name, `"`) || strings.Trim(name, "* ") == "" {
		return m, fmt.Errorf(`%s: not understood after the device; write release 0100-0110, or the name in quotes: "HP LaserJet 9050*"`, rest)
	}
	m.text += " " + rest
	m.name = strings.ToLower(name)
	return m, nil
}

func hex16(s string) (uint16, error) {
	if len(s) != 4 {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseUint(s, 16, 16)
	return uint16(n), err
}

// flags are the words that stand alone, or with "no", which takes back what a less special entry says.
func flags(q *Quirks) map[string]*bool {
	return map[string]*bool{
		"ignore": &q.Ignore, "no-ipp-usb": &q.NoIPP, "vendor-ipp-usb": &q.VendorIPP, "zlp": &q.ZLP, "zlp-ends-answer": &q.ZLPEnds,
		"vendor-raw": &q.VendorRaw, "unidirectional": &q.Unidirectional, "reset-after-job": &q.ResetAfterJob, "no-pjl": &q.NoPJL,
		"no-port-status": &q.NoPortStatus, "no-soft-reset": &q.NoSoftReset,
		"package-raw": &q.RawPackage,
	}
}

func parseWord(key, value string) (func(*Quirks), error) {
	if _, is := flags(&Quirks{})[key]; is {
		if value != "" && value != "no" {
			return nil, fmt.Errorf(`%s: %q is not understood; write the word alone, or with "no" to take it back`, key, value)
		}
		return func(q *Quirks) { *flags(q)[key] = value == "" }, nil
	}
	switch key {
	case "interfaces":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > 16 {
			return nil, fmt.Errorf("interfaces: %q is not a number from 1 to 16; say how many may be used at once", value)
		}
		return func(q *Quirks) { q.Interfaces = n }, nil
	case "connection":
		if value != "keep-alive" && value != "close" && value != "none" {
			return nil, fmt.Errorf("connection: %q; write keep-alive, close or none", value)
		}
		if value == "none" {
			value = ""
		}
		return func(q *Quirks) { q.Connection = value }, nil
	case "reset":
		if value != "soft" && value != "hard" && value != "none" {
			return nil, fmt.Errorf("reset: %q; write soft, hard or none", value)
		}
		if value == "none" {
			value = ""
		}
		return func(q *Quirks) { q.Reset = Reset(value) }, nil
	case "write-delay":
		delay, over, wide := strings.Cut(value, " over ")
		d, err := parseDelay(delay)
		bytes := 0
		var errOver error
		if wide {
			bytes, errOver = strconv.Atoi(over)
		}
		if err != nil || errOver != nil || bytes < 0 {
			return nil, fmt.Errorf("write-delay: %q; write a time up to %v, and bytes if it is for larger writes only: 1ms over 512", value, maxDelay)
		}
		return func(q *Quirks) { q.WriteDelay, q.WriteDelayOver = d, bytes }, nil
	case "answer-within":
		d, err := parseDelay(value)
		if err != nil {
			return nil, fmt.Errorf("answer-within: %q; write a time up to %v: 20s", value, maxDelay)
		}
		return func(q *Quirks) { q.AnswerWithin = d }, nil
	}
	return nil, fmt.Errorf("%s: unknown word; those that exist are in this program's quirks.txt", key)
}

func parseDelay(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err == nil && (d <= 0 || d > maxDelay) {
		err = strconv.ErrRange
	}
	return d, err
}
