package print

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"
)

//go:embed templates/*.html
var templateFiles embed.FS

func (s *Service) parseTemplates() (err error) {
	s.templates, err = template.New("").Funcs(template.FuncMap{"asset": s.Asset}).ParseFS(templateFiles, "templates/*.html")
	return err
}

// mountPages adds the pages. What changes something is a POST that a foreign site cannot send.
func (s *Service) mountPages(mux *http.ServeMux) {
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.message(w, r, "", refuse(http.StatusForbidden, ReasonForeign, "This was sent from another site, and nothing was changed. Open this service's own page and do it there."))
	}))
	page := func(pattern string, show http.HandlerFunc) {
		mux.Handle(pattern, guarded(s.prompt(origin.Handler(show))))
	}
	page("GET /device", s.asAdministrator(s.askCode))
	page("POST /device", s.asAdministrator(s.showRequest))
	page("POST /device/decision", s.asAdministrator(s.takeDecision))
	page("GET /device/decision", func(w http.ResponseWriter, r *http.Request) { // a page that was answered to a form is opened again
		http.Redirect(w, r, "/device", http.StatusSeeOther)
	})
	page("GET /print/{$}", s.asAdministrator(s.listPrinters))
	page("POST /print/printers/{id}/unregister", s.asAdministrator(s.unregisterOne))
	page("POST /print/printers/{id}/remind", s.asAdministrator(s.remindOne))
	page("POST /print/printers/{id}/remove", s.asAdministrator(s.removeOne))
	page("GET /print/confirm/{token}", s.askConfirm)
	page("POST /print/confirm/{token}", s.takeConfirm)
}

// asAdministrator lets administrators through.
func (s *Service) asAdministrator(show func(w http.ResponseWriter, r *http.Request, who string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, err := s.administrator(r)
		if err != nil {
			s.message(w, r, "", err)
			return
		}
		show(w, r, who)
	}
}

// guarded sets what every page has. HSTS is left out on purpose: it would lock a browser out of a region whose own certificate
// was renewed. A page's address may hold a link's token, so it is told to nobody.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// frame is what every page has.
type frame struct {
	Title         string
	Region        string
	Administrator string // "" on the pages of users
	Section       string
	Now           moment
}

func (s *Service) frame(title, administrator, section string) frame {
	now := s.Clock.Now()
	return frame{title, s.Region, administrator, section, at(now, now)}
}

// message answers with a page of one sentence.
func (s *Service) message(w http.ResponseWriter, r *http.Request, who string, err error) {
	f := refused(err)
	s.headers(w, r, f)
	text := f.detail
	if f.status >= 500 && f.reason == ReasonInternal {
		text = "The page cannot be shown; the server's log says why."
	}
	s.render(w, r, f.status, "message.html", struct {
		frame
		Good bool
		Text string
	}{s.frame(http.StatusText(f.status), who, ""), false, text})
}

// render writes a page whole or, where its template fails, not at all.
func (s *Service) render(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	var page bytes.Buffer
	if err := s.templates.ExecuteTemplate(&page, name, data); err != nil {
		s.Noted(r, ReasonInternal, "", err)
		http.Error(w, "The page cannot be shown; the server's log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes())
}

// pageForm reads a page's form.
func pageForm(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return refuse(http.StatusBadRequest, ReasonInvalid, "The form cannot be read. Go back and send it again.")
	}
	return nil
}

// onPage tells whether an error belongs onto the form that led to it, instead of onto a page of its own.
func onPage(err error) (*refusal, bool) {
	var f *refusal
	ok := errors.As(err, &f) && f.status < 500
	return f, ok
}

// moment is a time for people and for machines.
type moment struct{ Text, Ago, Machine string }

func at(t, now time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	m := moment{Text: t.UTC().Format("2006-01-02 15:04"), Machine: t.UTC().Format(time.RFC3339)}
	switch d := now.Sub(t); {
	case d <= -time.Minute:
		m.Ago = "in " + span(-d)
	case d < time.Minute:
		m.Ago = "just now"
	default:
		m.Ago = span(d) + " ago"
	}
	return m
}

func span(d time.Duration) string {
	switch {
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// grouped puts a space behind every so many characters, for people who compare.
func grouped(text string, n int) string {
	var b strings.Builder
	for i := 0; i < len(text); i += n {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(text[i:min(i+n, len(text))])
	}
	return b.String()
}
