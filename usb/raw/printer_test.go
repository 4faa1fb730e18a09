package raw_test

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/usb/membus"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/raw"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const uel = "\x1b%-12345X"

// printer is a printer that understands PJL: it knows which bytes are commands and which are a document.
type printer struct {
	t       *testing.T
	device  *model.Device
	out     *model.Out
	in      *model.In
	bus     *membus.Bus
	plugged *membus.Plugged
	handle  bus.Handle

	mu       sync.Mutex
	wire     bytes.Buffer // all that came
	document bytes.Buffer // of that, what is no PJL
	pages    bool         // in a language: what comes up to the next UEL is a document
	line     []byte
	commands []string // that came, without @PJL
	asked    map[string]int
	resets   int

	status    byte            // port status
	refuses   map[uint8]bool  // class requests that stall
	says      string          // INFO STATUS answers
	mute      map[string]bool // commands that it does not answer
	jobStatus bool
	holds     bool   // it takes EOJ, and prints on
	ends      string // name of the job that is held back
	result    string // of a job
	count     string
}

func newPrinter(t *testing.T) *printer {
	p := &printer{
		t: t, out: model.NewOut(), in: model.NewIn(), status: 0x18, refuses: map[uint8]bool{}, asked: map[string]int{}, mute: map[string]bool{},
		says: "CODE=10001\r\nDISPLAY=\"READY\"\r\nONLINE=TRUE", result: "\r\nRESULT=OK", count: "PAGECOUNT=4711",
	}
	p.device = &model.Device{VID: 0x1209, PID: 2, Interfaces: []model.Interface{{
		Class: 7, SubClass: 1, Proto: 2, Out: 0x01, In: 0x81, FromHost: p.out, ToHost: p.in, Serve: p.serve}},
		Class: p.class}
	p.bus = membus.New()
	p.plugged = p.bus.Plug(p.device, "1-1")
	t.Cleanup(p.plugged.Unplug)
	return p
}

// open opens the port; languages are its command set.
func (p *printer) open(quirks raw.Quirks, languages ...string) *raw.Port {
	p.t.Helper()
	return p.openAs(p.plugged.Device().Interfaces[0], mfpgate.SystemClock{}, quirks, languages...)
}

func (p *printer) openAs(i bus.Interface, clock mfpgate.Clock, quirks raw.Quirks, languages ...string) *raw.Port {
	p.t.Helper()
	if p.handle == nil {
		h, err := p.bus.Open(p.t.Context(), p.plugged.Device())
		if err != nil {
			p.t.Fatal(err)
		}
		p.handle = h
		p.t.Cleanup(func() { h.Close() })
	}
	port, err := raw.Open(p.t.Context(), raw.Options{Clock: clock, Log: telemetry.Discard(), Handle: p.handle, Interface: i, CommandSet: languages, Quirks: quirks})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		port.Close(ctx)
	})
	return port
}

func (p *printer) class(s model.Setup, _ []byte) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.RequestType == 0xA1 && s.Request == 1 {
		p.asked["port"]++
	}
	if p.refuses[s.Request] || s.Index != 0 {
		return nil, model.ErrStall
	}
	switch {
	case s.RequestType == 0xA1 && s.Request == 1:
		return []byte{p.status}, nil
	case s.RequestType == 0x21 && s.Request == 2:
		p.resets++
		p.pages, p.line = false, nil
		return nil, nil
	}
	return nil, model.ErrStall
}

func (p *printer) serve(ctx context.Context) {
	b := make([]byte, 32<<10)
	for {
		n, err := p.out.Read(ctx, b)
		if err != nil {
			return
		}
		if answer := p.eat(b[:n]); answer != "" {
			if _, err := p.in.Write(ctx, []byte(answer)); err != nil {
				return
			}
		}
	}
}

// eat takes what the host sent, and returns what the printer says to it.
func (p *printer) eat(b []byte) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wire.Write(b)
	p.line = append(p.line, b...)
	answer := ""
	for {
		switch {
		case bytes.HasPrefix(p.line, []byte(uel)):
			p.line = p.line[len(uel):]
			p.pages = false
		case len(p.line) < len(uel) && bytes.HasPrefix([]byte(uel), p.line):
			return answer // perhaps the beginning of one
		case !p.pages && len(p.line) < len("@PJL") && bytes.HasPrefix([]byte("@PJL"), p.line):
			return answer
		case !p.pages && bytes.HasPrefix(p.line, []byte("@PJL")):
			i := bytes.IndexByte(p.line, '\n')
			if i < 0 {
				return answer
			}
			answer += p.command(strings.TrimSpace(string(p.line[len("@PJL"):i])))
			p.line = p.line[i+1:]
		default: // a document, until the next UEL
			p.pages = true
			end := bytes.IndexByte(p.line[1:], uel[0]) + 1
			if end == 0 {
				end = len(p.line)
			}
			p.document.Write(p.line[:end])
			p.line = p.line[end:]
		}
	}
}

var nameOf = regexp.MustCompile(`NAME = "([^"]*)"`)

func (p *printer) command(text string) string {
	if text == "" {
		return ""
	}
	p.commands = append(p.commands, text)
	word, rest, _ := strings.Cut(text, " ")
	p.asked[text]++
	if p.mute[word] || p.mute[text] {
		return ""
	}
	name := ""
	if m := nameOf.FindStringSubmatch(rest); m != nil {
		name = m[1]
	}
	switch {
	case text == "USTATUS JOB = ON":
		p.jobStatus = true
	case word == "USTATUSOFF":
		p.jobStatus = false
	case word == "ENTER":
		p.pages = true
	case word == "JOB" && p.jobStatus:
		return fmt.Sprintf("@PJL USTATUS JOB\r\nSTART\r\nNAME=\"%s\"\r\n\f", name)
	case word == "EOJ" && p.jobStatus:
		p.ends = name
		if !p.holds {
			return p.ended()
		}
	case text == "INFO STATUS":
		return "@PJL INFO STATUS\r\n" + p.says + "\r\n\f"
	case text == "INFO PAGECOUNT":
		return "@PJL INFO PAGECOUNT\r\n" + p.count + "\r\n\f"
	}
	return ""
}

func (p *printer) ended() string {
	return fmt.Sprintf("@PJL USTATUS JOB\r\nEND\r\nNAME=\"%s\"\r\nPAGES=3%s\r\n\f", p.ends, p.result)
}

// say makes the printer say something unasked.
func (p *printer) say(text string) {
	p.t.Helper()
	if _, err := p.in.Write(context.Background(), []byte(text)); err != nil {
		p.t.Error(err)
	}
}

// finish lets the job that is held back end.
func (p *printer) finish() {
	p.mu.Lock()
	text := p.ended()
	p.mu.Unlock()
	p.say(text)
}

func (p *printer) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *printer) got() (wire, document string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wire.String(), p.document.String()
}

func (p *printer) softResets() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.resets
}

// states collects what a job tells.
type states struct {
	mu   sync.Mutex
	list []mfpgate.JobStatus
}

func (s *states) tell(status mfpgate.JobStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, status)
}

// states are the states told, each with its reasons, without repetitions.
func (s *states) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, status := range s.list {
		out = append(out, strings.TrimSpace(string(status.State)+" "+strings.Join(status.Reasons, " ")))
	}
	return slices.Compact(out)
}

func (s *states) last() mfpgate.JobStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) == 0 {
		return mfpgate.JobStatus{}
	}
	return s.list[len(s.list)-1]
}

// printed is what Print returned.
type printed struct {
	status mfpgate.JobStatus
	err    error
}

// start prints in a goroutine.
func start(ctx context.Context, port *raw.Port, doc mfpgate.Document, told func(mfpgate.JobStatus)) <-chan printed {
	done := make(chan printed, 1)
	go func() {
		status, err := port.Print(ctx, doc, told)
		done <- printed{status, err}
	}()
	return done
}

func document(format, content string) mfpgate.Document {
	return mfpgate.Document{Name: "report", Format: format, Size: int64(len(content)), Content: strings.NewReader(content)}
}

// pass lets time pass, which in a bubble takes none.
func pass(d time.Duration) { _ = mfpgate.Wait(context.Background(), mfpgate.SystemClock{}, d) }
