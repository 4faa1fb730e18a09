package document

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/protocol/ipp"
)

// The bounds of an answer.
const (
	maxAnswer = 1 << 20
	maxText   = 256
	maxItems  = 32   // reasons
	maxJobs   = 1000 // of an answer to Get-Jobs
)

// request begins a request: charset, language, target, user, in this order (RFC 8011 §4.1.4 and §4.1.5).
func (p *printing) request(op goipp.Op) *goipp.Message {
	p.requests++
	m := goipp.NewRequest(p.version, op, p.requests)
	m.Operation.Add(goipp.MakeAttribute("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	m.Operation.Add(goipp.MakeAttribute("attributes-natural-language", goipp.TagLanguage, goipp.String("en")))
	m.Operation.Add(goipp.MakeAttribute("printer-uri", goipp.TagURI, goipp.String(p.uri)))
	return m
}

// user adds requesting-user-name, which stands behind the target and job-id.
func (p *printing) user(m *goipp.Message) {
	m.Operation.Add(goipp.MakeAttribute("requesting-user-name", goipp.TagName, goipp.String(p.ipp.user())))
}

// submission is Print-Job or Validate-Job, which take the same attributes.
func (p *printing) submission(op goipp.Op) *goipp.Message {
	m := p.request(op)
	p.user(m)
	m.Operation.Add(goipp.MakeAttribute("job-name", goipp.TagName, goipp.String(p.name)))
	if p.doc.Format != "" {
		m.Operation.Add(goipp.MakeAttribute("document-format", goipp.TagMimeType, goipp.String(p.doc.Format)))
	}
	return m
}

// ofJob is an operation on the job.
func (p *printing) ofJob(op goipp.Op, id int) *goipp.Message {
	m := p.request(op)
	m.Operation.Add(goipp.MakeAttribute("job-id", goipp.TagInteger, goipp.Integer(id)))
	p.user(m)
	return m
}

func requested(m *goipp.Message, names ...string) {
	a := goipp.Attribute{Name: "requested-attributes"}
	for _, name := range names {
		a.Values.Add(goipp.TagKeyword, goipp.String(name))
	}
	m.Operation.Add(a)
}

// uri is a printer's target URI: its URL with IPP's scheme (RFC 3510).
func uri(to string) (string, error) {
	u, err := url.Parse(to)
	if err != nil {
		return "", fmt.Errorf("printer's URL: %w", err)
	}
	switch u.Scheme {
	case "http":
		u.Scheme = "ipp"
	case "https":
		u.Scheme = "ipps"
	default:
		return "", fmt.Errorf("printer's URL %q: must begin with http:// or https://", to)
	}
	return u.String(), nil
}

// answer is a decoded answer.
type answer struct {
	status goipp.Status
	groups goipp.Groups
	text   string // its status-message
}

// decode reads an answer. Its error is ErrNotIPP.
func decode(body []byte) (answer, error) {
	m, err := ipp.Decode(body, ipp.Printer)
	if err != nil {
		return answer{}, fmt.Errorf("%w: %s", ErrNotIPP, mfpgate.CleanText(err.Error(), maxText))
	}
	return answer{status: goipp.Status(m.Code), groups: m.AttrGroups(), text: text(m.Operation, "status-message")}, nil
}

// of are the attributes of each group of a kind.
func (a answer) of(tag goipp.Tag) []goipp.Attributes {
	var out []goipp.Attributes
	for _, group := range a.groups {
		if group.Tag == tag && len(out) < maxJobs {
			out = append(out, group.Attrs)
		}
	}
	return out
}

func values(attrs goipp.Attributes, name string) goipp.Values {
	for _, a := range attrs {
		if a.Name == name {
			return a.Values
		}
	}
	return nil
}

func integer(attrs goipp.Attributes, name string) int {
	if v := values(attrs, name); len(v) > 0 {
		if n, ok := v[0].V.(goipp.Integer); ok {
			return int(n)
		}
	}
	return 0
}

func text(attrs goipp.Attributes, name string) string {
	if v := values(attrs, name); len(v) > 0 {
		switch s := v[0].V.(type) {
		case goipp.String:
			return mfpgate.CleanText(string(s), maxText)
		case goipp.TextWithLang:
			return mfpgate.CleanText(s.Text, maxText)
		}
	}
	return ""
}

// keywords are an attribute's, sorted, each once, without none.
func keywords(attrs goipp.Attributes, name string) []string {
	var out []string
	v := values(attrs, name)
	for _, value := range v[:min(len(v), maxItems)] {
		if s, ok := value.V.(goipp.String); ok {
			if word := keyword(string(s)); word != "" && word != "none" {
				out = append(out, word)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// keyword is s as an IPP keyword (RFC 8011 §5.1.4), or empty if it is none.
func keyword(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if len(s) > maxText || strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r))
	}) {
		return ""
	}
	return s
}

// job is what the printer says of a job.
type job struct {
	id      int
	name    string
	state   mfpgate.JobState // "": it does not say
	reasons []string
	message string
}

// read reads a job's attributes.
func read(attrs goipp.Attributes) job {
	j := job{
		id: integer(attrs, "job-id"), name: text(attrs, "job-name"),
		reasons: keywords(attrs, "job-state-reasons"), message: text(attrs, "job-state-message"),
	}
	switch integer(attrs, "job-state") { // RFC 8011 §5.3.7
	case 3, 4: // pending, pending-held
		j.state = mfpgate.JobPending
	case 5:
		j.state = mfpgate.JobProcessing
	case 6:
		j.state = mfpgate.JobProcessingStopped
	case 7:
		j.state = mfpgate.JobCanceled
	case 8:
		j.state = mfpgate.JobAborted
	case 9:
		j.state = mfpgate.JobCompleted
	}
	return j
}
