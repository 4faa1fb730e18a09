// Package sse writes and reads streams of server-sent events (WHATWG HTML §9.2) over net/http.
//
// It promises of the writing end that the server's limits, which are for answers that end, do not end a stream, and that a reader
// who does not keep up is given up within the bound of one write; of the reading end that no line is longer than its bound, that an
// event counts only when it has ended, and that the end of a stream is an error. Whoever writes sends a comment now and then, so
// that both ends notice when the other has gone. A stream is a hint or a copy: nothing is numbered, and nothing is sent again.
package sse
