package telemetry

import (
	"fmt"
	"io"
	"strconv"
	"sync/atomic"

	"github.com/rs/zerolog"

	"github.com/mfpgate/mfpgate"
)

// Logger writes one JSON line per event. Rooms take it by value.
type Logger = zerolog.Logger

// Level is the least level that is written, debug in the zero value. It may be set while loggers use it.
type Level struct{ least atomic.Int32 }

// Set takes debug, info, warn or error.
func (l *Level) Set(name string) error {
	level, err := zerolog.ParseLevel(name)
	if err != nil || name == "" {
		return fmt.Errorf("log level %q: must be one of debug, info, warn, error", name)
	}
	l.least.Store(int32(level))
	return nil
}

// NewLogger returns a logger on w. Lines are written whole, one Write each. With journal each line starts with its syslog
// priority, "<6>": where $JOURNAL_STREAM names the output.
func NewLogger(w io.Writer, clock mfpgate.Clock, level *Level, journal bool) Logger {
	var out io.Writer = zerolog.SyncWriter(w)
	if journal {
		out = &journalWriter{w: out}
	}
	return zerolog.New(out).Hook(stamp{clock, level})
}

// Discard is a logger that writes nothing.
func Discard() Logger { return zerolog.Nop() }

// stamp adds the time from the injected clock, which zerolog's own Timestamp would take from a
// global, and drops what is below the level.
type stamp struct {
	clock mfpgate.Clock
	level *Level
}

func (s stamp) Run(e *zerolog.Event, level zerolog.Level, _ string) {
	if int32(level) < s.level.least.Load() {
		e.Discard()
		return
	}
	e.Time(zerolog.TimestampFieldName, s.clock.Now())
}

// journalWriter prefixes each line with "<N>", which journald strips and stores as PRIORITY (sd-daemon(3)).
type journalWriter struct{ w io.Writer }

func (j *journalWriter) Write(p []byte) (int, error) { return j.WriteLevel(zerolog.InfoLevel, p) }

// WriteLevel implements zerolog.LevelWriter.
func (j *journalWriter) WriteLevel(l zerolog.Level, p []byte) (int, error) {
	line := make([]byte, 0, len(p)+3)
	line = append(line, '<')
	line = strconv.AppendInt(line, priority(l), 10)
	line = append(line, '>')
	line = append(line, p...)
	if _, err := j.w.Write(line); err != nil {
		return 0, err
	}
	return len(p), nil
}

func priority(l zerolog.Level) int64 {
	switch l {
	case zerolog.DebugLevel, zerolog.TraceLevel:
		return 7
	case zerolog.WarnLevel:
		return 4
	case zerolog.ErrorLevel:
		return 3
	case zerolog.FatalLevel, zerolog.PanicLevel:
		return 2
	default:
		return 6
	}
}
