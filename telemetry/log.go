package telemetry

import (
	"fmt"
	"io"
	"strconv"

	"github.com/rs/zerolog"

	"github.com/mfpgate/mfpgate"
)

// Logger writes one JSON line per event. Rooms take it by value.
type Logger = zerolog.Logger

// LogOptions configure NewLogger.
type LogOptions struct {
	Level   string // debug, info, warn or error
	Journal bool   // prefix each line with its syslog priority, "<6>": set where $JOURNAL_STREAM names the output
}

// NewLogger returns a logger on w. Lines are written whole, one Write each. It refuses a level that does not exist.
func NewLogger(w io.Writer, clock mfpgate.Clock, o LogOptions) (Logger, error) {
	level, err := zerolog.ParseLevel(o.Level)
	if err != nil || o.Level == "" {
		return Logger{}, fmt.Errorf("log level %q: must be one of debug, info, warn, error", o.Level)
	}
	var out io.Writer = zerolog.SyncWriter(w)
	if o.Journal {
		out = &journalWriter{w: w}
	}
	return zerolog.New(out).Level(level).Hook(stamp{clock}), nil
}

// Discard is a logger that writes nothing.
func Discard() Logger { return zerolog.Nop() }

// stamp adds the time from the injected clock, which zerolog's own Timestamp would take from a global.
type stamp struct{ clock mfpgate.Clock }

func (s stamp) Run(e *zerolog.Event, _ zerolog.Level, _ string) {
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
