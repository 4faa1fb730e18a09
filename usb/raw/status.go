package raw

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/raw/pjl"
)

// How often a printer is asked, and how long for.
const (
	portStatusEvery = time.Second // at most, whoever asks
	infoEvery       = 5 * time.Second
	controlTimeout  = 2 * time.Second
	infoTimeout     = 3 * time.Second // of a question in PJL, until its answer
	firstSilence    = 5 * time.Minute // after a question that was not answered; twice that after each further one
	longestSilence  = time.Hour
)

// The bits of the octet that GET_PORT_STATUS answers (USB printer class 1.1 §4.2.2).
const (
	paperEmpty = 0x20
	selected   = 0x10
	noError    = 0x08
)

// portStatus is the last answer to GET_PORT_STATUS.
type portStatus struct {
	at      time.Time // when it was asked; zero: never
	bits    byte
	known   bool // it answered
	refused bool // it does not know the request, and is not asked again
}

// askPort asks for the port status, unless that was done a moment ago. The error is ErrGone or ErrClosed: all else is an answer
// that is not known.
func (p *Port) askPort(ctx context.Context) (portStatus, error) {
	p.mu.Lock()
	last := p.port
	now := p.clock.Now()
	if last.refused || p.quirks.NoPortStatus || !last.at.IsZero() && now.Sub(last.at) < portStatusEvery {
		p.mu.Unlock()
		return last, nil
	}
	p.port.at = now // others that ask meanwhile get the last one
	p.mu.Unlock()

	ctx, cancel := p.within(ctx, controlTimeout)
	defer cancel()
	answer := make([]byte, 1)
	n, err := p.handle.Control(ctx, bus.FromInterface, bus.GetPortStatus, 0, uint16(p.face.Number), answer)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.port.known = err == nil && n == 1
	p.port.bits = answer[0]
	p.port.refused = errors.Is(err, bus.ErrStalled)
	if errors.Is(err, bus.ErrGone) || errors.Is(err, bus.ErrClosed) {
		return p.port, err
	}
	return p.port, nil
}

// reasons are what the bits say, with the suffix that their effect has. Off line and a fault are said only where nothing narrower is:
// a printer without paper is also off line.
func (s portStatus) reasons() []string {
	switch {
	case !s.known:
		return nil
	case s.bits&paperEmpty != 0 && s.bits&noError != 0 && s.bits&selected != 0:
		return []string{"media-empty-warning"} // it goes on: another tray serves, or it has not noticed yet
	case s.bits&paperEmpty != 0:
		return []string{"media-empty-error"}
	case s.bits&noError == 0:
		return []string{"other-error"}
	case s.bits&selected == 0:
		return []string{"offline-report"}
	}
	return nil
}

// stopped reports whether the bits say that the printer does not work.
func (s portStatus) stopped() bool { return s.known && s.bits&(selected|noError) != selected|noError }

// condition joins what the port status and PJL say of the present. PJL, where it is narrower, stands alone.
func (p *Port) condition(port portStatus) mfpgate.PrinterStatus {
	p.mu.Lock()
	h := &p.heard
	present := !h.at.IsZero() && (h.watching || p.clock.Now().Sub(h.at) < infoEvery)
	said := h.status
	p.mu.Unlock()

	status := mfpgate.PrinterStatus{State: mfpgate.PrinterUnknown}
	if present {
		status = said
		status.Reasons = slices.Clone(said.Reasons)
	}
	for _, reason := range port.reasons() {
		keyword := reason[:strings.LastIndexByte(reason, '-')]
		narrower := slices.ContainsFunc(status.Reasons, func(r string) bool {
			return keyword == "other" || keyword == "offline" || strings.HasPrefix(r, keyword+"-")
		})
		if !narrower {
			status.Reasons = append(status.Reasons, reason)
		}
	}
	switch {
	case port.stopped():
		status.State = mfpgate.PrinterStopped
	case port.known && status.State == mfpgate.PrinterUnknown:
		status.State = mfpgate.PrinterIdle
	}
	slices.Sort(status.Reasons)
	return status
}

// Status is what the printer does, and what keeps it from it. Between jobs a printer that speaks PJL is asked for it, at most every
// 5 s; during a job only its port status is, and what it says by itself counts. The errors are ErrClosed and those of bus;
// a printer that answers nothing is unknown.
func (p *Port) Status(ctx context.Context) (mfpgate.PrinterStatus, error) {
	if err := p.usable(); err != nil {
		return mfpgate.PrinterStatus{}, err
	}
	p.ask(ctx, "STATUS")
	port, err := p.askPort(ctx)
	if err != nil {
		return mfpgate.PrinterStatus{}, fmt.Errorf("ask USB printer for its port status: %w", err)
	}
	status := p.condition(port)
	p.mu.Lock()
	doing := p.doing
	p.mu.Unlock()
	switch doing.State {
	case mfpgate.JobProcessing:
		status.State = mfpgate.PrinterProcessing
	case mfpgate.JobProcessingStopped:
		status.State = mfpgate.PrinterStopped
		if status.Message == "" {
			status.Message = doing.Message
		}
	}
	return status, nil
}

// Read reads the parts that the printer offers: its status, and its page counter where it answers PJL's INFO PAGECOUNT. During a job
// it reads no counter. A printer of this class tells nothing of supplies but in its status.
func (p *Port) Read(ctx context.Context, parts mfpgate.Parts) (mfpgate.Reading, error) {
	if err := p.usable(); err != nil {
		return mfpgate.Reading{}, err
	}
	var r mfpgate.Reading
	if parts.Has(mfpgate.PartStatus) {
		status, err := p.Status(ctx)
		if err != nil {
			return mfpgate.Reading{}, err
		}
		r.Status = &status
	}
	if parts.Has(mfpgate.PartCounters) {
		if m, ok := p.ask(ctx, "PAGECOUNT"); ok {
			if n, ok := m.Count(); ok {
				r.Counters = []mfpgate.Counter{{Name: "pages", Value: n}}
			}
		}
	}
	r.At = p.clock.Now()
	return r, nil
}

// usable says why the port is of no use any more.
func (p *Port) usable() error {
	if p.life.Err() != nil {
		return ErrClosed
	}
	return p.gone()
}

// ask asks for a category of INFO if that disturbs nobody: the printer speaks PJL and answered the last time, and nobody has the
// stream.
func (p *Port) ask(ctx context.Context, category string) (pjl.Message, bool) {
	now := p.clock.Now()
	p.mu.Lock()
	silent, isSilent := p.heard.silent[category]
	fresh := category == "STATUS" && !p.heard.at.IsZero() && now.Sub(p.heard.at) < infoEvery
	p.mu.Unlock()
	if !p.speaksPJL || !p.answers || fresh || isSilent && (silent.next == 0 || now.Before(silent.until)) || !p.turns.try() {
		return pjl.Message{}, false
	}
	defer p.turns.free()
	return p.inquire(ctx, category)
}

// inquire asks and waits for the answer. The caller has the turn, and the printer no document that is not whole.
func (p *Port) inquire(ctx context.Context, category string) (pjl.Message, bool) {
	ctx, cancel := p.within(ctx, infoTimeout)
	defer cancel()
	unbind := p.untilCut(cancel)
	defer unbind()
	got := make(chan pjl.Message, 1)
	p.mu.Lock()
	p.heard.want, p.heard.got = category, got
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.heard.want = ""
		p.mu.Unlock()
	}()

	if err := p.settle(ctx); err != nil {
		return pjl.Message{}, false // it takes nothing now, which is no silence
	}
	question := pjl.Ask(category)
	n, err := p.claim.Write(ctx, question)
	if err != nil || n < len(question) {
		if n > 0 {
			p.owed = question[min(n, len(question)):]
		}
		return pjl.Message{}, false
	}
	half := p.clock.NewTimer(infoTimeout / 2)
	defer half.Stop()
	for {
		select {
		case m := <-got:
			known := !m.Has("?") && !m.Has(`"?"`) // HP, chapter 7, INFO; some leave the quotes out
			p.answered(category, known, true)
			return m, known
		case <-half.C():
			p.flush()
		case <-p.lost:
			return pjl.Message{}, false
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				p.answered(category, false, false)
			}
			return pjl.Message{}, false
		}
	}
}

// answered remembers whether a category is worth asking for.
func (p *Port) answered(category string, offers, said bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, was := p.heard.silent[category]
	switch {
	case offers:
		delete(p.heard.silent, category)
	case said: // that it does not know it
		p.heard.silent[category] = silence{}
	case !was:
		p.heard.silent[category] = silence{until: p.clock.Now().Add(firstSilence), next: 2 * firstSilence}
	default:
		p.heard.silent[category] = silence{until: p.clock.Now().Add(last.next), next: min(2*last.next, longestSilence)}
	}
}

// settle sends what the printer must get before anything else.
func (p *Port) settle(ctx context.Context) error {
	for len(p.owed) > 0 {
		n, err := p.claim.Write(ctx, p.owed)
		p.owed = p.owed[min(max(n, 0), len(p.owed)):]
		if err != nil {
			return err
		}
	}
	return nil
}

// untilCut cancels at Close's deadline.
func (p *Port) untilCut(cancel func()) (unbind func()) {
	over := make(chan struct{})
	stop := make(chan struct{})
	go func() { // unbind waits for it
		defer close(over)
		select {
		case <-p.cut:
			cancel()
		case <-stop:
		}
	}()
	return func() {
		close(stop)
		<-over
	}
}
