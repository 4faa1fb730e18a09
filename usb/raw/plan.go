package raw

import (
	"bytes"
	"fmt"
	"mime"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/raw/pjl"
)

// ending is what ends a document early without harm; the package's comment says why.
type ending int

const (
	endWhole ending = iota // nothing does: it is sent to its end
	endReset               // it is sent to its end, unless the printer stands still: then a soft reset drops it
	endBytes               // plan.closing does, wherever the document is broken off
)

// plan is how a document is sent.
type plan struct {
	ending  ending
	opening []byte // before the document; nil: it is sent as it is
	trailer []byte // behind the whole document
	closing []byte // behind a part of it
	mark    string // the printer is asked to say what becomes of the job by this name; "": it is not
}

// endOfFile ends a PostScript job on any channel (Adobe, "PostScript Language Reference" §3.8.1).
const endOfFile = "\x04"

// plan looks at a document's format and first bytes.
func (p *Port) plan(doc mfpgate.Document, first []byte) plan {
	format, _, err := mime.ParseMediaType(doc.Format)
	if err != nil || !printable(format) {
		return plan{ending: endWhole}
	}
	postScript := format == "application/postscript" ||
		bytes.HasPrefix(first, []byte("%!")) || bytes.HasPrefix(first, []byte(endOfFile+"%!"))
	if bytes.HasPrefix(first, []byte(pjl.UEL)) {
		if p.quirks.NoPJL {
			return plan{ending: endReset}
		}
		return plan{ending: endBytes, closing: []byte(pjl.UEL)}
	}
	if language := pjl.Language(format, p.commands); language != "" && p.speaksPJL {
		p.jobs++
		mark := fmt.Sprintf("[%d]", p.jobs)
		job := pjl.Job{Name: pjl.JobName(doc.Name, mark), Language: language, Track: p.answers}
		out := plan{ending: endBytes, opening: job.Open(), trailer: job.Close(), closing: job.Close()}
		if postScript {
			out.closing = append([]byte(endOfFile), out.closing...)
		}
		if p.answers {
			out.mark = mark
		}
		return out
	}
	if postScript {
		return plan{ending: endBytes, closing: []byte(endOfFile)}
	}
	return plan{ending: endReset}
}

// printable reports whether a media type is one of pages. What is not known is opaque, and perhaps a software package.
func printable(format string) bool {
	switch {
	case strings.HasPrefix(format, "image/"), strings.HasPrefix(format, "text/"), strings.HasPrefix(format, "application/vnd.cups-"):
		return true
	}
	switch format {
	case "application/pdf", "application/postscript", "application/pclm", "application/oxps", "application/vnd.ms-xpsdocument",
		"application/vnd.hp-pcl", "application/vnd.hp-pclxl", "application/vnd.hp-hpgl", "application/vnd.epson.escpr",
		"application/vnd.epson.escp", "application/vnd.canon-cpdl", "application/vnd.canon-lips":
		return true
	}
	return false
}
