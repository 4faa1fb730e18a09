package soak_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
)

const (
	completed = mfpgate.JobCompleted
	aborted   = mfpgate.JobAborted
	stopped   = string(mfpgate.JobProcessingStopped)
)

var (
	raws  = []door{plain, oneWay, framed}
	ipps  = []door{asked, served}
	every = []door{plain, oneWay, framed, asked, served}
	// cutOff is what is told of a document that did not get through; well of one that did.
	cutOff = map[mfpgate.JobState]string{aborted: "submission-interrupted", completed: "queued-in-device"}
)

// at makes a place of a share, in percent, and bytes beyond it.
func at(percent, beyond int64) func(int64) int64 {
	return func(all int64) int64 { return all*percent/100 + beyond }
}

// faults are all of them, each at the places where it may matter.
func faults() (all []fault) {
	ends := func(states ...mfpgate.JobState) []mfpgate.JobState { return states }
	on := func(k model.Kind, times int) func(*round) {
		return func(r *round) { r.out().Fail(model.Fault{Kind: k, After: r.pos, Times: times}) }
	}
	answering := func(k model.Kind, times int) func(*round) {
		return func(r *round) { r.in().Fail(model.Fault{Kind: k, After: r.pos, Times: times}) }
	}
	goneTold := func(r *round) error {
		if r.door != served && r.job.err != nil && !errors.Is(r.job.err, bus.ErrGone) {
			return fmt.Errorf("the error is not that it is gone: %w", r.job.err)
		}
		return nil
	}

	// The cable is pulled.
	for _, at := range []struct {
		name string
		pos  func(int64) int64
	}{
		{"before the first byte", at(0, 0)}, {"after the first byte", at(0, 1)}, {"within the head", at(0, 60)}, {"within the second head", at(0, 400)},
		{"after a packet", at(0, 512)}, {"in the body", at(10, 0)}, {"in the midst of a transfer", at(47, 1)}, {"behind whole transfers", at(0, 65536)},
		{"late in the body", at(90, 7)}, {"before the last byte", at(100, -1)}, {"after the last byte", at(100, 0)},
	} {
		states := ends(aborted)
		if at.name == "after the last byte" || at.name == "before the last byte" {
			states = ends(aborted, completed) // what comes behind a document may be the last byte
		}
		all = append(all, fault{name: "unplug " + at.name, on: every, pos: at.pos, arm: on(model.Unplug, 1), states: states, reasons: cutOff, leaves: true, check: goneTold})
	}
	for _, n := range []int64{0, 1, 40, 100, 150} {
		all = append(all, fault{name: fmt.Sprintf("unplug after %d bytes of answers", n), on: append(ipps, framed), pos: at(0, n), arm: answering(model.Unplug, 1),
			states: ends(aborted, completed), reasons: cutOff, leaves: true, check: goneTold})
	}
	all = append(all,
		fault{name: "unplug while the answer is owed", on: ipps, leaves: true, states: ends(aborted), reasons: cutOff, check: goneTold,
			arm: func(r *round) { r.answers(model.Answer{Until: make(chan struct{})}) },
			amid: func(r *round) {
				r.until("the printer has it whole", func() bool { return r.p.copies(r.door, r.doc) == 1 })
				r.p.pull()
			}},
		fault{name: "unplug while it prints", on: []door{asked}, leaves: true, states: ends(completed), reasons: cutOff,
			arm: func(r *round) {
				r.p.IPP.Steps(model.Step{State: model.JobProcessing, Reasons: []string{"job-printing"}})
			},
			amid: func(r *round) {
				r.until("the printer prints", func() bool { return r.job.tells(mfpgate.JobProcessing, "job-printing") })
				r.p.pull()
			}},
		// Aborted, if the frame's last bytes had not gone behind the document's.
		fault{name: "unplug while it prints", on: []door{framed}, leaves: true, states: ends(completed, aborted), reasons: cutOff,
			arm: func(r *round) { r.in().Silence(true) },
			amid: func(r *round) {
				r.until("the printer has it", func() bool { return r.p.copies(r.door, r.doc) == 1 })
				r.p.pull()
			}},
		fault{name: "unplug within the back channel", on: []door{plain}, pos: at(50, 0), leaves: true, states: ends(aborted), reasons: cutOff, check: goneTold,
			arm: func(r *round) {
				r.out().Fail(model.Fault{Kind: model.Nak, After: r.pos})
				r.in().Fail(model.Fault{Kind: model.Unplug, After: 300})
			},
			amid: func(r *round) {
				r.naks()
				_, _ = r.in().Write(r.s.t.Context(), noise(r.rng, 1000)) // it ends with the plug
			}},
		fault{name: "unplug within a request for its status", on: raws, pos: at(50, 0), leaves: true, states: ends(aborted), reasons: cutOff, check: goneTold,
			arm: func(r *round) {
				r.out().Fail(model.Fault{Kind: model.Nak, After: r.pos})
				e, _ := r.p.Endpoint(0)
				e.Fail(model.Fault{Kind: model.Unplug})
			},
			amid: func(r *round) {
				r.naks()
				// Where the job asks at that moment, too, whoever comes second gets the answer before.
				r.until("its status cannot be read", func() bool {
					_, err := r.s.printers.Read(r.s.t.Context(), r.p.port, mfpgate.PartStatus)
					return err != nil
				})
			}},
	)

	// It stands still.
	for _, p := range []func(int64) int64{at(0, 0), at(30, 3)} {
		all = append(all, fault{name: "no memory", on: every, pos: p, arm: on(model.NoMemory, 3), states: ends(completed)})
	}
	for _, p := range []func(int64) int64{at(0, 0), at(30, 3), at(100, -1)} {
		all = append(all,
			fault{name: "takes nothing for long", on: raws, pos: p, arm: on(model.Nak, 1), states: ends(completed), told: []string{stopped, "printer-stopped"},
				amid: func(r *round) {
					r.naks()
					r.until("that is told", func() bool { return r.job.tells(mfpgate.JobProcessingStopped, "printer-stopped") })
					r.out().Resume()
				}},
			// A printer that takes no question is one that cannot be reached.
			fault{name: "takes nothing for long", on: ipps, pos: p, arm: on(model.Nak, 1), states: ends(completed, aborted),
				amid: func(r *round) {
					r.naks()
					r.passes(2 * time.Minute)
					r.out().Resume()
				}},
			fault{name: "paper is out", on: raws, pos: p, arm: on(model.PaperOut, 1), states: ends(completed), told: []string{stopped, "media-empty-error"},
				amid: func(r *round) {
					r.naks()
					r.until("that is told", func() bool { return r.job.tells(mfpgate.JobProcessingStopped, "printer-stopped") })
					r.p.LoadPaper()
				}},
			fault{name: "paper is out", on: ipps, pos: p, arm: on(model.PaperOut, 1), states: ends(completed, aborted),
				amid: func(r *round) {
					r.naks()
					r.passes(2 * time.Minute)
					r.p.LoadPaper()
				}},
			fault{name: "stall", on: raws, pos: p, arm: on(model.Stall, 1), states: ends(completed)},
			fault{name: "stalls in a row", on: raws, pos: p, arm: on(model.Stall, 20), states: ends(aborted), reasons: cutOff},
			fault{name: "stall", on: ipps, pos: p, arm: on(model.Stall, 1), states: ends(aborted), reasons: cutOff, resets: true},
			fault{name: "the wire fails", on: raws, pos: p, arm: on(model.Failure, 1), states: ends(aborted), reasons: cutOff},
			fault{name: "the wire fails", on: ipps, pos: p, arm: on(model.Failure, 1), states: ends(aborted), reasons: cutOff, resets: true},
		)
	}

	// What it says.
	for _, n := range []int64{0, 50} {
		all = append(all,
			fault{name: "empty reads", on: append(ipps, framed), pos: at(0, n), arm: answering(model.ZeroRead, 3), states: ends(completed)},
			fault{name: "no memory for reads", on: append(ipps, framed), pos: at(0, n), arm: answering(model.NoMemory, 3), states: ends(completed)},
			fault{name: "the answer stalls", on: []door{framed}, pos: at(0, n), arm: answering(model.Stall, 2), states: ends(completed)},
			fault{name: "the answer fails on the wire", on: []door{framed}, pos: at(0, n), arm: answering(model.Failure, 2), states: ends(completed)},
			fault{name: "the answer overflows", on: []door{framed}, pos: at(0, n), arm: answering(model.Overflow, 2), states: ends(completed)},
			fault{name: "the answer stalls", on: ipps, pos: at(0, n), arm: answering(model.Stall, 1), states: ends(aborted, completed), resets: true},
			fault{name: "the answer fails on the wire", on: ipps, pos: at(0, n), arm: answering(model.Failure, 1), states: ends(aborted, completed), resets: true},
			fault{name: "the answer overflows", on: ipps, pos: at(0, n), arm: answering(model.Overflow, 1), states: ends(aborted, completed), resets: true},
		)
	}
	silently := func(r *round) {
		if r.p.RawIn != nil {
			r.p.RawIn.Silence(true)
		}
	}
	all = append(all,
		fault{name: "short reads", on: append(ipps, framed), states: ends(completed), arm: func(r *round) { r.in().Split(1, 7, 100) }},
		fault{name: "silent", on: []door{framed}, states: ends(completed), arm: silently, reasons: cutOff},
		fault{name: "says noise", on: []door{plain, framed}, states: ends(completed), arm: func(r *round) {
			_, _ = r.in().Write(r.s.t.Context(), noise(r.rng, 5000)) // there is room
		}},
		fault{name: "no answer", on: ipps, states: ends(aborted), resets: true, reasons: cutOff, arm: func(r *round) { r.answers(model.Answer{Silent: true}) }},
		fault{name: "answers garbage", on: ipps, states: ends(aborted), resets: true, reasons: cutOff, arm: func(r *round) { r.answers(model.Answer{Garbage: true}) }},
		fault{name: "the answer breaks off", on: ipps, states: ends(aborted), resets: true, reasons: cutOff, arm: func(r *round) { r.answers(model.Answer{Cut: 30}) }},
		fault{name: "the answer is long, in chunks", on: ipps, states: ends(completed), arm: func(r *round) { r.answers(model.Answer{Chunked: true, Pad: 100_000}) }},
		fault{name: "answers late", on: ipps, states: ends(completed), arm: func(r *round) { r.answers(model.Answer{Delay: 3 * still()}) }},
		fault{name: "is busy", on: []door{asked}, states: ends(completed), told: []string{string(mfpgate.JobPending), ""}, arm: func(r *round) {
			r.p.IPP.Next(model.Answer{Status: 503}, model.Answer{Status: 503})
		}},
		fault{name: "is busy", on: []door{served}, states: ends(aborted), arm: func(r *round) { r.p.IPP.Next(model.Answer{Status: 503}) }},
		fault{name: "gives the job up", on: ipps, states: ends(aborted), arm: func(r *round) {
			r.p.IPP.Steps(model.Step{State: model.JobAborted, Reasons: []string{"aborted-by-system"}})
		}},
	)
	return all
}

// answers says how Print-Job is answered, which is the first request of a client, and the second of ours.
func (r *round) answers(a model.Answer) {
	if r.door == asked {
		r.p.IPP.Next(model.Answer{})
	}
	r.p.IPP.Next(a)
}

// until waits for a state of the round, or the end of its job.
func (r *round) until(what string, is func() bool) {
	r.t.Helper()
	if !reached(func() bool { return is() || r.over() }) {
		r.s.await(r.name()+": "+what, func() bool { return false })
	}
}

func (r *round) over() bool {
	select {
	case <-r.job.ended:
		return true
	default:
		return false
	}
}

// naks waits until the printer takes nothing any more.
func (r *round) naks() {
	r.t.Helper()
	r.until("it takes nothing", func() bool { return r.out().Faults() == 0 })
}

// passes lets time pass.
func (r *round) passes(d time.Duration) {
	r.t.Helper()
	begun := r.s.clock.Now()
	r.until("time passes", func() bool { return r.s.clock.Now().Sub(begun) > d })
}
