package model

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"slices"
	"sync"
)

// RawJob is what came between two boundaries of PJL jobs, or without any.
type RawJob struct {
	Name     string `json:"name,omitempty"` // of @PJL JOB
	Language string `json:"language,omitempty"`
	Bytes    int64  `json:"bytes"` // of the document: what comes behind the header's PJL lines, up to the end's UEL
	SHA256   string `json:"sha256"`
	Ended    bool   `json:"ended"` // by @PJL EOJ; one without @PJL JOB: by a UEL
	Content  []byte `json:"-"`     // its first bytes, as many as Options.Keep
}

// Raw records what a raw port takes. It holds no more than Options.Keep bytes of a job, of which it remembers the last 64.
type Raw struct {
	printer *Printer
	parser  *parser

	mu      sync.Mutex
	digest  hash.Hash
	bytes   int64
	ends    int // how often the port was emptied with a job in it: unplugged, reset, another setting
	jobs    []RawJob
	open    *openJob
	ids     int // PJL's numbers of jobs
	verbose struct{ device, job bool }
}

type openJob struct {
	RawJob
	digest hash.Hash
	keep   int
	framed bool // by @PJL JOB
}

const rememberedJobs = 64

func newRaw(p *Printer) *Raw { return &Raw{printer: p, digest: sha256.New()} }

// serve takes bytes until the port is emptied; what was half done then is a job that has not ended.
func (r *Raw) serve(ctx context.Context) {
	r.mu.Lock()
	r.verbose.device, r.verbose.job = false, false
	r.parser = &parser{raw: r, plain: r.printer.options.NoPJL}
	parser := r.parser
	r.mu.Unlock()
	buf := make([]byte, buffered)
	for {
		n, err := r.printer.RawOut.Read(ctx, buf)
		if err != nil {
			break
		}
		r.mu.Lock()
		r.bytes += int64(n)
		r.digest.Write(buf[:n])
		parser.take(buf[:n])
		say := parser.said()
		r.mu.Unlock()
		r.say(ctx, say)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	parser.flush()
	if r.open != nil {
		r.ends++
		r.end(false)
	}
}

// say sends what PJL answers; a host that does not read stops the printer once 64 KiB wait.
func (r *Raw) say(ctx context.Context, text []byte) {
	if len(text) > 0 && r.printer.RawIn != nil {
		_, _ = r.printer.RawIn.Write(ctx, text) // ctx has ended: so has the port
	}
}

// changed tells a host that wants to know that the printer is at something else.
func (r *Raw) changed(code int) {
	r.mu.Lock()
	tell := r.verbose.device
	r.mu.Unlock()
	if tell {
		now, cancel := context.WithCancel(context.Background())
		cancel() // a host that does not read does not hear
		r.say(now, []byte("@PJL USTATUS DEVICE\r\n"+shown(code)+"\f"))
	}
}

// Bytes is how many bytes the port has taken since Take, and SHA256 their digest in hex.
func (r *Raw) Bytes() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes
}

// SHA256 is the digest, in hex, of all bytes since Take.
func (r *Raw) SHA256() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return hex.EncodeToString(r.digest.Sum(nil))
}

// Take returns what Bytes and SHA256 say, and begins anew.
func (r *Raw) Take() (bytes int64, digest string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	bytes, digest = r.bytes, hex.EncodeToString(r.digest.Sum(nil))
	r.bytes = 0
	r.digest.Reset()
	return bytes, digest
}

// Cut is how many jobs were cut off: the port was emptied before they ended.
func (r *Raw) Cut() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ends
}

// Jobs are the last jobs, the one under way last.
func (r *Raw) Jobs() []RawJob {
	r.mu.Lock()
	defer r.mu.Unlock()
	jobs := slices.Clone(r.jobs)
	if r.open != nil {
		jobs = append(jobs, r.open.sum(false))
	}
	return jobs
}

func (j *openJob) sum(ended bool) RawJob {
	j.SHA256, j.Ended = hex.EncodeToString(j.digest.Sum(nil)), ended
	return j.RawJob
}

// begin begins a job. mu is held.
func (r *Raw) begin(name string, framed bool) {
	if r.open != nil {
		r.end(!r.open.framed)
	}
	r.ids++
	r.open = &openJob{RawJob: RawJob{Name: name}, digest: sha256.New(), keep: r.printer.options.Keep, framed: framed}
}

// document adds bytes to the job. mu is held.
func (r *Raw) document(b []byte) {
	if len(b) == 0 {
		return
	}
	if r.open == nil {
		r.begin("", false)
	}
	r.open.digest.Write(b)
	r.open.Bytes += int64(len(b))
	r.open.Content = append(r.open.Content, b[:min(len(b), r.open.keep-len(r.open.Content))]...)
}

// end ends the job. mu is held.
func (r *Raw) end(well bool) {
	r.jobs = append(r.jobs, r.open.sum(well))
	r.jobs = slices.Delete(r.jobs, 0, max(len(r.jobs)-rememberedJobs, 0))
	r.open = nil
}
