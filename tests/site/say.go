package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry/event"
)

// sayer turns what the programs log into sentences.
type sayer struct {
	mu  sync.Mutex
	out io.Writer
}

func newSayer(out io.Writer) *sayer { return &sayer{out: out} }

func (s *sayer) line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := mfpgate.SystemClock{}.Now().Format(time.TimeOnly)
	fmt.Fprintf(s.out, "%s  %s\n", now, fmt.Sprintf(format, args...))
}

// devices speak in sentences already.
func (s *sayer) devices() func(string) {
	return func(text string) { s.line("%s", text) }
}

// cloud says only what goes wrong: the devices tell the rest.
func (s *sayer) cloud(name string) func(string) {
	return func(text string) {
		var e struct{ Level, Message, Error string }
		if json.Unmarshal([]byte(text), &e) == nil && (e.Level == "error" || e.Level == "warn") {
			s.line("cloud %s: %s %s", name, e.Message, e.Error)
		}
	}
}

// logged is the part of the gateway's events that a sentence needs.
type logged struct {
	Level, Message, Reason, Outcome, Destination, Error, Text, Key string

	Device       string `json:"device_name"`
	Down         int64  `json:"bytes_down"`
	Queued       int64  `json:"queued_ms"`
	Milliseconds int64  `json:"duration_ms"`
}

func (s *sayer) gateway() func(string) {
	return func(text string) {
		var e logged
		if json.Unmarshal([]byte(text), &e) != nil {
			s.line("gateway: %s", text)
			return
		}
		took := (time.Duration(e.Milliseconds) * time.Millisecond).Round(100 * time.Millisecond)
		switch e.Message {
		case event.DaemonStarted:
			s.line("gateway: the relay listens")
		case event.RelayClosed:
			waited := ""
			if e.Queued > 0 {
				waited = fmt.Sprintf(", after waiting %v for its turn", (time.Duration(e.Queued) * time.Millisecond).Round(100*time.Millisecond))
			}
			s.line("gateway: %s's tunnel to %s ended (%s): %.1f MB down in %v%s", e.Device, e.Destination, e.Outcome, float64(e.Down)/1e6, took, waited)
		case event.RelayRefused:
			s.line("gateway: %s was refused: %s", e.Device, strings.ReplaceAll(e.Reason, "-", " "))
		case event.SchedulerReported:
			s.line("gateway: told the cloud what the schedule overloads")
		case event.SchedulerProposed:
			s.line("gateway: proposed other starts")
		case event.DaemonStopping:
			s.line("gateway: draining")
		case event.DaemonStopped:
			s.line("gateway: stopped")
		default:
			if e.Level == "error" || e.Level == "warn" {
				s.line("gateway: %s %s%s", e.Message, e.Text, e.Error)
			}
		}
	}
}
