package sse

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"strings"
)

// Event is one that has ended.
type Event struct {
	Name string // "message" where the stream names none
	Data string // its lines joined by line feeds
}

// Read yields the events of a stream, and an error at its end, whatever that is: io.ErrUnexpectedEOF if it just ended, since a
// stream has no end of its own. No line, and no event's data, is longer than limit bytes.
func Read(in io.Reader, limit int) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		lines := bufio.NewScanner(in)
		lines.Buffer(make([]byte, 0, min(limit, 512)), limit)
		var e Event
		seen, size := false, 0
		for lines.Scan() {
			line := strings.TrimSuffix(lines.Text(), "\r")
			name, value, _ := strings.Cut(line, ":")
			value = strings.TrimPrefix(value, " ")
			switch {
			case line == "" && seen:
				if e.Name == "" {
					e.Name = "message"
				}
				if !yield(e, nil) {
					return
				}
				e, seen, size = Event{}, false, 0
			case name == "event":
				e.Name, seen = value, true
			case name == "data":
				if size += len(value) + 1; size > limit {
					yield(Event{}, fmt.Errorf("event stream: %w", bufio.ErrTooLong))
					return
				}
				if e.Data != "" {
					value = e.Data + "\n" + value
				}
				e.Data, seen = value, true
			}
		}
		err := lines.Err()
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		yield(Event{}, fmt.Errorf("event stream: %w", err))
	}
}
