package sse

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
)

// ContentType is that of a stream.
const ContentType = "text/event-stream"

// WriteWithin bounds each write: a reader that takes longer is gone.
const WriteWithin = 10 * time.Second

// Stream is the writing end. One goroutine uses it at a time.
type Stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// Open makes an answer a stream. Nothing is sent before the first write, and no other header can be set after that.
func Open(w http.ResponseWriter) *Stream {
	h := w.Header()
	h.Set("Content-Type", ContentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // for a proxy in front that would collect what comes
	s := &Stream{w, http.NewResponseController(w)}
	// The server reads on to see whether the other side has gone, and its limit for that would end the stream. What cannot be set
	// leaves that limit in force: the reader comes back.
	_ = s.control.SetReadDeadline(time.Time{})
	return s
}

// Event sends an event of a name. data has no line breaks, as JSON has none that encoding/json wrote.
func (s *Stream) Event(name string, data []byte) error {
	return s.write("event: " + name + "\ndata: " + string(data) + "\n\n")
}

// Comment sends what readers pass over: a sign of life.
func (s *Stream) Comment(text string) error {
	return s.write(strings.TrimSuffix(": "+text, " ") + "\n\n")
}

// Retry tells browsers how long to wait before they come back, in whole milliseconds.
func (s *Stream) Retry(after time.Duration) error {
	return s.write("retry: " + strconv.FormatInt(after.Milliseconds(), 10) + "\n\n")
}

// write sends at once. Its deadline goes by the machine's clock, as all of the network's do. Between two writes there is none: HTTP/2
// resets a stream whose deadline passes while it rests.
func (s *Stream) write(text string) error {
	if err := s.control.SetWriteDeadline(mfpgate.SystemClock{}.Now().Add(WriteWithin)); err != nil {
		return err // a write without a bound could wait for ever
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return errors.Join(s.control.Flush(), s.control.SetWriteDeadline(time.Time{}))
}
