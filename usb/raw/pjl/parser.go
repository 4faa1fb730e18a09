package pjl

import (
	"strconv"
	"strings"

	"github.com/mfpgate/mfpgate"
)

// The bounds of a message; the rest of a longer line, and lines beyond, are left out.
const (
	MaxLine  = 256 // bytes
	MaxLines = 64
)

// prefix begins each command and each answer.
const prefix = "@PJL"

// Message is one answer of a printer, or what it says unasked.
type Message struct {
	Command string // its first word in upper case: INFO, USTATUS, ECHO
	Rest    string // of its first line: STATUS, JOB, the words that ECHO repeats
	Lines   []string
}

// Is reports whether the message is of a command and its category: INFO and STATUS, USTATUS and JOB.
func (m Message) Is(command, category string) bool {
	return m.Command == command && strings.EqualFold(m.Rest, category)
}

// Has reports whether one of the lines is a word alone: START, END, CANCELED, or "?" from a printer that does not know the category.
func (m Message) Has(word string) bool {
	for _, line := range m.Lines {
		if strings.EqualFold(line, word) {
			return true
		}
	}
	return false
}

// Value is the value of a line KEY=VALUE without its quotes.
func (m Message) Value(key string) (value string, ok bool) {
	for _, line := range m.Lines {
		if k, v, found := strings.Cut(line, "="); found && strings.EqualFold(strings.TrimSpace(k), key) {
			return strings.TrimSpace(strings.Trim(strings.TrimSpace(v), `"`)), true
		}
	}
	return "", false
}

// Count is the number that INFO PAGECOUNT answers: PAGECOUNT=183933, or the number alone on its line.
func (m Message) Count() (n int64, ok bool) {
	text, found := m.Value("PAGECOUNT")
	if !found && len(m.Lines) > 0 {
		text = m.Lines[0]
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return n, err == nil && n >= 0
}

// Parser cuts what a printer sends into messages. The zero Parser is ready.
type Parser struct {
	line    []byte
	message *Message
}

// Feed takes the next bytes and returns the messages that they complete.
func (p *Parser) Feed(b []byte) []Message {
	var out []Message
	for _, c := range b {
		switch c {
		case '\f':
			out = append(out, p.Flush()...)
		case '\r', '\n':
			out = p.endLine(out)
		default:
			if len(p.line) < MaxLine {
				p.line = append(p.line, c)
			}
		}
	}
	return out
}

// Flush returns the message that has begun as if it had ended: some printers send no form feed.
func (p *Parser) Flush() []Message {
	out := p.endLine(nil)
	if p.message != nil {
		out = append(out, *p.message)
		p.message = nil
	}
	return out
}

// endLine adds the line to its message. A line that begins with @PJL ends the message before.
func (p *Parser) endLine(out []Message) []Message {
	text := mfpgate.CleanText(string(p.line), MaxLine)
	p.line = p.line[:0]
	// A printer that was asked between two other answers may put garbage before the prefix, but never within its own lines.
	if len(text) >= len(prefix) && strings.EqualFold(text[:len(prefix)], prefix) {
		if p.message != nil {
			out = append(out, *p.message)
		}
		command, rest, _ := strings.Cut(strings.TrimSpace(text[len(prefix):]), " ")
		p.message = &Message{Command: strings.ToUpper(command), Rest: strings.TrimSpace(rest)}
		return out
	}
	if text != "" && p.message != nil && len(p.message.Lines) < MaxLines {
		p.message.Lines = append(p.message.Lines, text)
	}
	return out
}
