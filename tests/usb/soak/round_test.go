package soak_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/usb/model"
)

// round is one document, and one fault while it is printed.
type round struct {
	s      *site
	t      testing.TB
	rng    *rand.Rand
	door   door
	layout model.Layout
	fault  fault
	doc    paper
	pos    int64 // where the fault is, in bytes of its endpoint from the round's begin

	p     *plugged
	pair  model.Pair // the interface that is disturbed
	begun int64      // carried before
	job   *job
}

// fault is one thing that goes wrong.
type fault struct {
	name string
	on   []door
	// pos is where it is to be in a document of some size; the round may choose another place below all. nil: it has no place.
	pos func(all int64) int64
	arm func(*round)
	// amid is done while the job is under way; nil: nothing is.
	amid func(*round)
	// What is told at the end, where the fault happened: one of the states, and the reasons that come with each.
	states  []mfpgate.JobState
	reasons map[mfpgate.JobState]string
	told    []string // of the states and reasons on the way
	leaves  bool     // the printer is unplugged
	resets  bool     // the gateway resets it
	check   func(*round) error
}

// out and in are the endpoints to disturb.
func (r *round) out() *model.Out { return r.pair.Out }
func (r *round) in() *model.In   { return r.pair.In }

// aim takes a printer's interface to disturb.
func (r *round) aim(p *plugged) {
	r.p = p
	if r.door.mode() == mfpgate.USBModeRaw {
		r.pair = model.Pair{Out: p.RawOut, In: p.RawIn}
		p.Raw.Take()
	} else {
		r.pair = p.Pairs[r.rng.IntN(len(p.Pairs))]
	}
	r.begun = p.carried()
}

// play prints the document, with the fault, and checks all that is told of it. happened is false where the fault had no occasion.
func (r *round) play(p *plugged) (happened bool) {
	r.t.Helper()
	r.aim(p)
	before, resets := p.faults(), p.Dev.Resets()
	r.fault.arm(r)
	armed := p.faults() - before
	r.job = r.s.begin(p, r.door, r.doc.document(r.door))
	if r.fault.amid != nil {
		r.fault.amid(r)
	}
	select {
	case <-r.job.ended:
	case <-time.After(deadline):
		r.s.await(r.name()+": the job ends", func() bool { return false })
	}
	happened = armed == 0 || p.faults() == before || r.job.err != nil // of those that happen often some may be to come
	switch {
	case happened && r.fault.leaves:
		<-p.Out()
	case happened && r.fault.resets:
		r.s.await(r.name()+": it is reset", func() bool { return p.Dev.Resets() > resets })
	}
	for _, why := range r.lies(happened) {
		r.t.Errorf("%s: %s; told %s, then %v", r.name(), why, tell(r.job.told), r.job.err)
	}
	return happened
}

func (r *round) name() string {
	return fmt.Sprintf("%s at %d of %d bytes through %s", r.fault.name, r.pos, r.doc.size(), r.door)
}

func tell(told []mfpgate.JobStatus) (text string) {
	for _, s := range told {
		text += fmt.Sprintf("%s %v %d %q; ", s.State, s.Reasons, s.Sent, s.Message)
	}
	return text
}

// lies are what was told and is not so.
func (r *round) lies(happened bool) (why []string) {
	lie := func(is bool, text string, args ...any) {
		if is {
			why = append(why, fmt.Sprintf(text, args...))
		}
	}
	j, size, took := r.job, r.doc.size(), r.p.carried()-r.begun
	lie(!j.status.State.Ended(), "%q is no end", j.status.State)
	lie((j.err == nil) != (j.status.State == mfpgate.JobCompleted), "%s with error %v", j.status.State, j.err)
	if r.door != served && len(j.told) == 0 { // it was refused: the printer is being opened, or has just left
		lie(j.err == nil || j.status.State != mfpgate.JobAborted || j.status.Sent != 0 || took != 0, "nothing was told of %+v", j.status)
		return why
	}
	if r.door != served {
		last := j.told[len(j.told)-1]
		lie(last.State != j.status.State || !slices.Equal(last.Reasons, j.status.Reasons), "returned %+v", j.status)
		for _, s := range j.told[:len(j.told)-1] {
			lie(s.State.Ended(), "the end %s was told on the way", s.State)
		}
		lie(j.status.Sent > size || j.status.Sent > took, "%d bytes sent, and the printer took %d", j.status.Sent, took)
		lie(r.fault.leaves && r.door != asked && r.door != framed && j.status.Sent != took, "%d bytes sent, and the printer took %d", j.status.Sent, took)
	}
	if j.status.State == mfpgate.JobCompleted {
		lie(took < size, "completed, and the printer took %d of %d bytes", took, size)
		lie(r.door != served && j.status.Sent != size, "completed with %d of %d bytes sent", j.status.Sent, size)
		// A printer without a protocol, unplugged with the last of it in its buffer, had taken it.
		buffered := r.door.mode() == mfpgate.USBModeRaw && has(j.status, "queued-in-device") && r.fault.leaves
		lie(!buffered && !reached(func() bool { return r.p.copies(r.door, r.doc) == 1 }), "completed, and the printer has %d copies of it", r.p.copies(r.door, r.doc))
	}
	lie(r.p.copies(r.door, r.doc) > 1, "printed %d times", r.p.copies(r.door, r.doc))
	if !happened {
		lie(j.status.State != mfpgate.JobCompleted, "%s, and nothing had happened", j.status.State)
		return why
	}
	// Which of several interfaces a request takes is not known: the one with the fault may be a later one's.
	sure := len(r.p.Pairs) < 2 || r.door.mode() == mfpgate.USBModeRaw
	lie(sure && !slices.Contains(r.fault.states, j.status.State), "the end is %s, want one of %v", j.status.State, r.fault.states)
	if reason := r.fault.reasons[j.status.State]; reason != "" && r.door != served {
		lie(!has(j.status, reason), "no reason %s", reason)
	}
	if len(r.fault.told) == 2 && r.door != served {
		lie(!j.tells(mfpgate.JobState(r.fault.told[0]), r.fault.told[1]), "never told: %v", r.fault.told)
	}
	if r.fault.check != nil {
		if err := r.fault.check(r); err != nil {
			why = append(why, err.Error())
		}
	}
	return why
}

// prints wants a document to arrive as it is.
func (s *site) prints(p *plugged, d door, doc paper) {
	s.t.Helper()
	if d.mode() == mfpgate.USBModeRaw {
		p.Raw.Take()
	}
	j := s.begin(p, d, doc.document(d))
	select {
	case <-j.ended:
	case <-time.After(deadline):
		s.await("the job ends", func() bool { return false })
	}
	if j.err != nil || j.status.State != mfpgate.JobCompleted {
		s.t.Errorf("print at %s through %s: %+v, %v", p.port, d, j.status, j.err)
		return
	}
	if !reached(func() bool { return p.copies(d, doc) == 1 }) {
		s.t.Errorf("print at %s through %s: the printer has %d copies of what was printed", p.port, d, p.copies(d, doc))
	}
}

// noise is n bytes of a seed's.
func noise(rng *rand.Rand, n int) []byte {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rng.Uint32())
	}
	b := make([]byte, n)
	_, _ = io.ReadFull(rand.NewChaCha8(seed), b) // it has no end
	return b
}
