package console

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// refusal is why a save did not happen, for the page on which the operator goes on.
type refusal struct {
	Status       int
	Text         string
	Bands        []bandLine
	Alternatives []choice
	Differences  []difference
}

// bandLine is an overload in one line.
type bandLine struct {
	During         during
	Peak, Capacity int
}

// choice is a start that is offered.
type choice struct {
	Start moment
	Move  string
	Value string // of the button
}

// offered is how many starts are offered at once.
const offered = 3

// valueOf writes an instant into a button.
func valueOf(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func (c clock) choices(from []api.Alternative) []choice {
	var out []choice
	for _, a := range from[:min(len(from), offered)] {
		out = append(out, choice{c.at(a.StartUTC), moved(time.Duration(a.MoveBy)), valueOf(a.StartUTC)})
	}
	return out
}

func (c clock) bandLines(from []api.Band) []bandLine {
	var out []bandLine
	for _, b := range from[:min(len(from), offered)] {
		out = append(out, bandLine{c.during(b.From, b.To), b.Peak, b.Capacity})
	}
	return out
}

func statusOf(err error) int {
	var known interface {
		error
		GetStatus() int
	}
	if errors.As(err, &known) {
		return known.GetStatus()
	}
	return http.StatusInternalServerError
}

// refusedBy says what a refused save means, or false if the error is not a matter of what was asked for.
func (c clock) refusedBy(err error) (refusal, bool) {
	r := refusal{Status: statusOf(err), Text: sentence(err.Error())}
	if r.Status < 400 || r.Status >= 500 || r.Status == http.StatusUnauthorized {
		return r, false
	}
	var known interface {
		error
		Problem() api.Problem
	}
	if errors.As(err, &known) {
		p := known.Problem()
		if p.Detail != "" {
			r.Text = sentence(p.Detail)
		}
		if p.Reason() == api.WouldOverload { // what the detail says besides is for the API's callers
			r.Text = "With this start more devices would come at once than the gateway can serve."
		}
		r.Bands, r.Alternatives = c.bandLines(p.Bands), c.choices(p.Alternatives)
	}
	r.Text = strings.TrimSuffix(r.Text, ".") + "."
	if r.Status == http.StatusPreconditionFailed {
		r.Text = "The delivery has changed since the page was shown. Look at what is different, and save again if your change still holds."
	}
	return r, true
}
