package rig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// Event is one line of the gateway's log.
type Event map[string]any

// Name returns the event's name, one of package event's.
func (e Event) Name() string { return e.Str("message") }

// Str returns a text field; Int a number, -1 if it is missing.
func (e Event) Str(key string) string { s, _ := e[key].(string); return s }
func (e Event) Int(key string) int {
	if n, ok := e[key].(float64); ok {
		return int(n)
	}
	return -1
}

// Log collects what a gateway writes to standard output.
type Log struct {
	mu     sync.Mutex
	part   []byte
	text   strings.Builder
	events []Event
	bad    []string
	more   chan struct{} // closed at the next event
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	l.part = append(l.part, p...)
	for {
		line, rest, whole := bytes.Cut(l.part, []byte("\n"))
		if !whole {
			break
		}
		l.part = rest
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			l.bad = append(l.bad, string(line))
			continue
		}
		l.events = append(l.events, e)
	}
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
	return len(p), nil
}

// Text returns everything that was written.
func (l *Log) Text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Events returns the events of that name so far.
func (l *Log) Events(name string) (found []Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e.Name() == name {
			found = append(found, e)
		}
	}
	return found
}

// Event waits for an event of that name for which all key, value pairs hold, and returns the first. A value is compared
// as text.
func (l *Log) Event(t testing.TB, name string, pairs ...any) Event {
	t.Helper()
	late := time.NewTimer(Deadline)
	defer late.Stop()
	for seen := 0; ; {
		l.mu.Lock()
		for ; seen < len(l.events); seen++ {
			if e := l.events[seen]; e.Name() == name && e.has(pairs) {
				l.mu.Unlock()
				return e
			}
		}
		if l.more == nil {
			l.more = make(chan struct{})
		}
		more := l.more
		l.mu.Unlock()
		select {
		case <-more:
		case <-late.C:
			t.Fatalf("no event %s %v in the log:\n%s", name, pairs, l.Text())
		}
	}
}

func (e Event) has(pairs []any) bool {
	for i := 0; i+1 < len(pairs); i += 2 {
		if fmt.Sprint(e[fmt.Sprint(pairs[i])]) != fmt.Sprint(pairs[i+1]) {
			return false
		}
	}
	return true
}

// Count returns how many events of that name hold all pairs.
func (l *Log) Count(name string, pairs ...any) (n int) {
	for _, e := range l.Events(name) {
		if e.has(pairs) {
			n++
		}
	}
	return n
}
