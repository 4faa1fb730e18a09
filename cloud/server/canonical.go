package server

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// writeStall is how long one write to a client may take. There is no limit on a whole answer: a push channel lasts, and
// a package through a slow line may take an hour.
const writeStall = time.Minute

// call is what the layers of one request note for its log event.
type call struct {
	id     string
	who    principal
	reason mfpgate.Reason
	detail string
	cause  error
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

// canonical writes the one log event of a request, and turns a panic into a 500.
func (s *Server) canonical(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := s.Clock.Now()
		c := &call{id: mfpgate.NewID(s.Clock, "req")}
		out := &meter{ResponseWriter: w, clock: s.Clock}
		r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
		w.Header().Set("X-Request-Id", c.id)
		abort := false
		func() {
			defer func() {
				v := recover()
				if v == nil {
					return
				}
				if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					abort = true
					return
				}
				p := internal(fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
				if out.status == 0 {
					writeProblem(out, r, p)
					return
				}
				noted(r.Context(), p, r.URL.Path)
				abort = true
			}()
			next.ServeHTTP(out, r)
		}()
		e, name := s.Log.Info(), event.CloudServed
		if out.status >= 400 || c.reason != "" {
			name = event.CloudRefused
		}
		if out.status >= 500 && !passing(c.reason) || c.cause != nil {
			e = s.Log.Error().AnErr(field.Error, c.cause)
		}
		e = e.Str(field.Region, s.Region).Str(field.Client, r.RemoteAddr).Str(field.Method, r.Method).Str(field.Destination, r.URL.Path).
			Int(field.Status, out.status).Int64(field.BytesDown, out.bytes).Int64(field.Duration, s.Clock.Now().Sub(begun).Milliseconds()).
			Str(field.Request, c.id)
		switch c.who.role {
		case roleGateway:
			e = e.Str(field.Gateway, c.who.id)
		case roleDevice:
			e = e.Str(field.Device, c.who.id)
		case roleOperator, roleAdministrator, rolePeerManagement, rolePeerServices:
			e = e.Str(field.User, c.who.id)
		}
		if c.reason != "" {
			e = e.Str(field.Reason, string(c.reason)).Str(field.Text, c.detail)
		}
		e.Msg(name)
		if abort {
			panic(http.ErrAbortHandler)
		}
	})
}

// passing tells of a 5xx whether it belongs to normal operation: the caller comes again, and nobody has anything to mend.
func passing(why mfpgate.Reason) bool {
	return why == api.Draining || why == ReasonThrottled || why == ReasonEnding
}

// meter counts an answer and gives each write its deadline.
type meter struct {
	http.ResponseWriter
	clock  mfpgate.Clock
	status int
	bytes  int64
}

func (m *meter) WriteHeader(status int) {
	if status >= 200 {
		m.status = status
	}
	m.ResponseWriter.WriteHeader(status)
}

func (m *meter) Write(p []byte) (int, error) {
	if m.status == 0 {
		m.status = http.StatusOK
	}
	// A writer without deadlines (a test's recorder) has no client that could stall either.
	_ = http.NewResponseController(m.ResponseWriter).SetWriteDeadline(m.clock.Now().Add(writeStall))
	n, err := m.ResponseWriter.Write(p)
	m.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController flush.
func (m *meter) Unwrap() http.ResponseWriter { return m.ResponseWriter }

// connectionLog turns net/http's own lines (a refused TLS handshake, mostly) into events.
func (s *Server) connectionLog() *log.Logger { return log.New(connectionLines{s}, "", 0) }

type connectionLines struct{ s *Server }

func (l connectionLines) Write(p []byte) (int, error) {
	l.s.Log.Debug().Str(field.Region, l.s.Region).Str(field.Reason, string(ReasonConnection)).
		Str(field.Text, strings.TrimSpace(string(p))).Msg(event.CloudRefused)
	return len(p), nil
}
