package mfpgate

import "io"

// Document is what is sent to a printer.
type Document struct {
	Name    string // for the printer's display and for people; may be empty
	Format  string // its media type; "" and application/octet-stream: as it is, the printer finds out (RFC 8011 §5.1.10)
	Size    int64  // in bytes; negative: not known
	Content io.Reader
}

// JobState is where a print job stands (RFC 8011 §5.3.7).
type JobState string

// The states. The last three are ends.
const (
	JobPending           JobState = "pending"            // it waits for the jobs before it
	JobProcessing        JobState = "processing"         // the printer takes it, or prints
	JobProcessingStopped JobState = "processing-stopped" // the printer takes nothing until somebody helps it
	JobCompleted         JobState = "completed"
	JobCanceled          JobState = "canceled" // by whoever wanted it
	JobAborted           JobState = "aborted"  // by the printer, or because it went away
)

// Ended reports whether the state is an end.
func (s JobState) Ended() bool { return s == JobCompleted || s == JobCanceled || s == JobAborted }

// JobStatus is what is true of a job, as far as can be known.
type JobStatus struct {
	State JobState `json:"state"`
	// Reasons are keywords of job-state-reasons (RFC 8011 §5.3.8), sorted, each once. A completed job with queued-in-device was
	// taken whole by a printer that does not say whether it printed it.
	Reasons []string `json:"reasons,omitempty"`
	Message string   `json:"message,omitempty"`      // for people: what keeps it, what ended it
	Sent    int64    `json:"sent"`                   // bytes of the document that the printer took
	Printer int      `json:"printerJobId,omitempty"` // the printer's own number for the job, where it has one
}
