package raw

import (
	"errors"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/raw/pjl"
)

// heard is what the printer said by itself.
type heard struct {
	parser pjl.Parser
	gone   error // it is not read any more: it is unplugged, or the interface taken away

	status   mfpgate.PrinterStatus // its latest, and
	at       time.Time             // when it came; zero: none did
	watching bool                  // it was told to say each change: the latest is the present one

	last time.Time // when the last message of any kind came
	want string    // the category of INFO that somebody waits for, and
	got  chan pjl.Message

	silent map[string]silence // by category of INFO

	// Of the job that is tracked.
	mark           string // in its name; "": none is
	started, ended bool
	result         string // of RESULT, or CANCELED; "" or OK: it was printed
}

// silence is a question that was not answered. Until then it is not asked again.
type silence struct {
	until time.Time
	next  time.Duration // of the silence after this one; 0: never ask again
}

// The pauses after reads that brought nothing.
const (
	leastPause = 10 * time.Millisecond
	mostPause  = time.Second
)

// listen reads until the printer is gone or the port closed.
func (p *Port) listen() {
	packet := min(max(p.face.In.MaxPacket, 1), 1024)
	buffer := make([]byte, max(4096/packet, 1)*packet)
	pause := leastPause
	for {
		n, err := p.claim.Read(p.life, buffer)
		if n > 0 {
			p.hear(buffer[:min(n, len(buffer))])
		}
		switch {
		case p.life.Err() != nil, errors.Is(err, bus.ErrClosed):
			return
		case errors.Is(err, bus.ErrGone):
			p.lose(err)
			p.tellNews()
			return
		case n > 0 && err == nil:
			pause = leastPause
			continue
		}
		// Empty packets are a printer's way to say nothing yet. After an error, a stall's too, the next read may succeed, or may
		// not for as long as the fault lasts.
		if mfpgate.Wait(p.life, p.clock, pause) != nil {
			return
		}
		pause = min(2*pause, mostPause)
	}
}

// hear takes what came.
func (p *Port) hear(b []byte) {
	p.mu.Lock()
	for _, m := range p.heard.parser.Feed(b) {
		p.take(m)
	}
	p.mu.Unlock()
	p.tellNews()
}

// flush takes what has come as a whole message: its end may never come.
func (p *Port) flush() {
	p.mu.Lock()
	for _, m := range p.heard.parser.Flush() {
		p.take(m)
	}
	p.mu.Unlock()
}

func (p *Port) tellNews() {
	select {
	case p.news <- struct{}{}:
	default: // it is told already
	}
}

// take sorts a message. p.mu is held.
func (p *Port) take(m pjl.Message) {
	h := &p.heard
	h.last = p.clock.Now()
	if status, ok := m.Status(); ok {
		h.status, h.at = status, h.last
	}
	switch {
	case m.Is("USTATUS", "JOB"):
		p.takeJob(m)
	case m.Command == "INFO" && h.want != "" && m.Is("INFO", h.want):
		h.got <- m // it has room for the one that is wanted
		h.want = ""
	}
}

// takeJob tells what became of the tracked job. A message with another job's name is another's; one without a name is of this
// channel, on which no other job is (HP, chapter 7, USTATUS JOB).
func (p *Port) takeJob(m pjl.Message) {
	h := &p.heard
	if name, told := m.Value("NAME"); h.mark == "" || told && name != "" && !strings.HasSuffix(name, h.mark) {
		return
	}
	switch result, _ := m.Value("RESULT"); {
	case m.Has("START"):
		h.started = true
	case m.Has("CANCELED"), m.Has("CANCELLED"):
		h.ended, h.result = true, result
		if result == "" || result == "OK" {
			h.result = "CANCELED"
		}
	case m.Has("END"):
		if !h.ended { // it follows CANCELED, in some printers with RESULT=OK
			h.ended, h.result = true, result
		}
	}
}
