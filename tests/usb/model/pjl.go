package model

import (
	"bytes"
	"fmt"
	"strings"
)

// uel is PJL's Universal Exit Language: it ends whatever language the printer reads, and begins PJL.
const uel = "\x1b%-12345X"

// parser tells PJL from documents (HP's PJL Technical Reference Manual). It is used with its Raw's mutex held.
type parser struct {
	raw   *Raw
	plain bool // all bytes are the document's

	pjl     bool   // behind a UEL: lines of PJL, until something else
	line    []byte // of PJL, not ended
	pending []byte // a UEL and its lines, which are the document's own unless they end the job
	tail    []byte // bytes of the document that may be the begin of a UEL
	answers bytes.Buffer
}

// maxLine bounds a line of PJL; what is longer is no PJL.
const maxLine = 4096

func (p *parser) take(b []byte) {
	if p.plain {
		p.raw.document(b)
		return
	}
	for len(b) > 0 {
		if p.pjl {
			b = p.command(b)
		} else {
			b = p.document(b)
		}
	}
}

// document takes bytes up to a UEL.
func (p *parser) document(b []byte) (rest []byte) {
	if len(p.tail) > 0 {
		b = append(p.tail, b...)
		p.tail = nil
	}
	if i := bytes.Index(b, []byte(uel)); i >= 0 {
		p.raw.document(b[:i])
		p.exit()
		return b[i+len(uel):]
	}
	keep := 0
	for k := min(len(uel)-1, len(b)); k > 0; k-- {
		if strings.HasPrefix(uel, string(b[len(b)-k:])) {
			keep = k
			break
		}
	}
	p.raw.document(b[:len(b)-keep])
	p.tail = bytes.Clone(b[len(b)-keep:])
	return nil
}

// exit is a UEL: the end of a job without a frame.
func (p *parser) exit() {
	r := p.raw
	p.release()
	p.pjl = true
	if r.open == nil {
		return
	}
	if !r.open.framed {
		r.end(true)
		return
	}
	p.pending = append(p.pending, uel...)
}

// release gives to the document what turned out not to end its job.
func (p *parser) release() {
	if p.raw.open != nil && len(p.pending) > 0 {
		p.raw.document(p.pending)
	}
	p.pending = p.pending[:0]
}

// command takes bytes of PJL, up to the end of a line, or to what is no PJL.
func (p *parser) command(b []byte) (rest []byte) {
	const begin = "@PJL"
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		end = len(b) - 1
	}
	p.line = append(p.line, b[:end+1]...)
	rest = b[end+1:]
	head := string(p.line[:min(len(p.line), len(begin))])
	switch {
	case strings.HasPrefix(string(p.line), uel):
		rest = append(bytes.Clone(p.line[len(uel):]), rest...)
		p.line = nil
		p.exit()
	case strings.HasPrefix(uel, string(p.line)): // may become one
	case head != begin[:len(head)] || len(p.line) > maxLine: // a document in the printer's own language
		rest = append(p.line, rest...)
		p.line = nil
		p.pjl = false
		p.release()
	case p.line[len(p.line)-1] == '\n':
		line := string(p.line)
		p.line = nil
		p.carryOut(line)
	}
	return rest
}

func (p *parser) carryOut(line string) {
	r := p.raw
	text := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "@PJL"))
	name, rest, _ := strings.Cut(text, " ")
	switch strings.ToUpper(name) {
	case "JOB":
		p.pending = p.pending[:0]
		r.begin(value(rest, "NAME"), true)
		p.job("START", r.open.Name, -1)
		r.printer.work(CodePrinting)
		return
	case "EOJ":
		p.pending = p.pending[:0]
		if r.open != nil {
			title := r.open.Name
			r.end(true)
			p.job("END", title, 1)
			r.printer.work(CodeReady)
		}
		return
	case "ENTER":
		p.pjl = false
		if r.open != nil && r.open.Bytes == 0 && len(p.pending) == 0 {
			r.open.Language = value(rest, "LANGUAGE")
			return
		}
	case "INFO":
		p.info(strings.ToUpper(strings.TrimSpace(rest)))
	case "ECHO":
		fmt.Fprintf(&p.answers, "@PJL ECHO %s\r\n\f", rest)
	case "USTATUSOFF":
		r.verbose.device, r.verbose.job = false, false
	case "USTATUS":
		p.ustatus(strings.ToUpper(rest))
	}
	if len(p.pending) > 0 {
		p.pending = append(p.pending, line...)
		if !p.pjl {
			p.release()
		}
	}
}

func (p *parser) info(what string) {
	printer := p.raw.printer
	switch what {
	case "ID":
		fmt.Fprintf(&p.answers, "@PJL INFO ID\r\n\"%s %s\"\r\n\f", printer.options.Make, printer.options.Model)
	case "STATUS":
		fmt.Fprintf(&p.answers, "@PJL INFO STATUS\r\n%s\f", shown(printer.Code()))
	default:
		fmt.Fprintf(&p.answers, "@PJL INFO %s\r\n?\r\n\f", what)
	}
}

func (p *parser) ustatus(text string) {
	name, to, _ := strings.Cut(text, "=")
	on := strings.TrimSpace(to) == "ON" || strings.TrimSpace(to) == "VERBOSE"
	switch strings.TrimSpace(name) {
	case "DEVICE":
		p.raw.verbose.device = on
		if on {
			fmt.Fprintf(&p.answers, "@PJL USTATUS DEVICE\r\n%s\f", shown(p.raw.printer.Code()))
		}
	case "JOB":
		p.raw.verbose.job = on
	}
}

// job tells a host that wants to know of a job's begin and end.
func (p *parser) job(what, name string, pages int) {
	if !p.raw.verbose.job {
		return
	}
	fmt.Fprintf(&p.answers, "@PJL USTATUS JOB\r\n%s\r\nNAME=%q\r\nID=%d\r\n", what, name, p.raw.ids)
	if pages >= 0 {
		fmt.Fprintf(&p.answers, "PAGES=%d\r\n", pages)
	}
	p.answers.WriteByte('\f')
}

// said is what is to be answered, once.
func (p *parser) said() []byte {
	out := bytes.Clone(p.answers.Bytes())
	p.answers.Reset()
	return out
}

// flush gives the document what was held back of it.
func (p *parser) flush() {
	if !p.pjl {
		p.raw.document(p.tail)
		p.tail = nil
	}
	p.release()
}

// value is a variable's in a line of PJL, without its quotes.
func value(text, name string) string {
	at := strings.Index(strings.ToUpper(text), name)
	if at < 0 {
		return ""
	}
	_, after, _ := strings.Cut(text[at:], "=")
	after = strings.TrimSpace(after)
	if quoted, ok := strings.CutPrefix(after, `"`); ok {
		after, _, _ = strings.Cut(quoted, `"`)
		return after
	}
	after, _, _ = strings.Cut(after, " ")
	return after
}

// shown is what the panel shows with a code.
func shown(code int) string {
	text, online := "READY", "TRUE"
	switch code {
	case CodePrinting:
		text = "PROCESSING JOB"
	case CodePaperOut:
		text, online = "TRAY 1 LOAD PLAIN A4", "FALSE"
	case CodeOffline:
		text, online = "OFFLINE", "FALSE"
	}
	return fmt.Sprintf("CODE=%d\r\nDISPLAY=%q\r\nONLINE=%s\r\n", code, text, online)
}
