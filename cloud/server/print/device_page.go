package print

import (
	"net/http"
	"slices"
	"strings"

	"github.com/mfpgate/mfpgate/throttle"
)

// codePage is the form on which a code is typed. It has no field for what was typed: no page fills a code in.
type codePage struct {
	frame
	Refused string
}

func (s *Service) askCode(w http.ResponseWriter, r *http.Request, who string) {
	s.render(w, r, http.StatusOK, "code.html", codePage{s.frame("Allow a device", who, "device"), ""})
}

// askCodeAgain shows the form with what was wrong.
func (s *Service) askCodeAgain(w http.ResponseWriter, r *http.Request, who string, err error) {
	f, ok := onPage(err)
	if !ok {
		s.message(w, r, who, err)
		return
	}
	s.headers(w, r, f)
	s.render(w, r, f.status, "code.html", codePage{s.frame("Allow a device", who, "device"), f.detail})
}

// requestPage is what an administrator decides on.
type requestPage struct {
	frame
	Typed     string
	Purpose   string
	About     asked
	Kind      string
	Client    string
	From      string
	Asked     moment
	Expires   moment
	Printer   *printerRecord
	Has       []userDocument // users of the printer
	Requester string         // the requester's mail address, if it is one
	Ticked    bool
	Others    string
	Refused   string
}

// showRequest answers to a typed code.
func (s *Service) showRequest(w http.ResponseWriter, r *http.Request, who string) {
	err := pageForm(w, r)
	var f facts
	if err == nil {
		f, err = s.find(r.Context(), r.PostForm.Get("code"), who, throttle.Source(r.RemoteAddr))
	}
	if err != nil {
		s.askCodeAgain(w, r, who, err)
		return
	}
	s.showFacts(w, r, who, f, http.StatusOK, func(*requestPage) {})
}

func (s *Service) showFacts(w http.ResponseWriter, r *http.Request, who string, f facts, status int, and func(*requestPage)) {
	now := s.Clock.Now()
	p := requestPage{
		frame: s.frame("Allow this device?", who, "device"), Typed: shownCode(f.Typed), Purpose: "register", About: f.Code.Asked,
		Kind: f.Code.Asked.kind(), Client: f.Code.Client, From: f.Code.From,
		Asked: at(f.Code.At, now), Expires: at(f.Code.Expires, now), Printer: f.Printer,
	}
	if !hasScope(f.Code.Scope, ScopeRegister) {
		p.Title, p.Purpose = "Allow another user?", "allow"
	}
	if mail, ok := mailOf(f.Code.Asked.Requester); ok {
		p.Requester = mail
	}
	if f.Printer != nil {
		p.Has = make([]userDocument, len(f.Printer.Users))
		for i, u := range f.Printer.Users {
			p.Has[i] = userDocument{User: u.Mail}
		}
	}
	and(&p)
	s.render(w, r, status, "request.html", p)
}

// takeDecision takes an administrator's word. The code goes with the form, and is looked up like one that was typed.
func (s *Service) takeDecision(w http.ResponseWriter, r *http.Request, who string) {
	err := pageForm(w, r)
	var f facts
	if err == nil {
		f, err = s.find(r.Context(), r.PostForm.Get("code"), who, throttle.Source(r.RemoteAddr))
	}
	do := r.PostForm.Get("do")
	again := f.Code.DecidedBy == who && f.Typed != "" // the same form twice: decide finds out
	if err != nil && !again {
		s.askCodeAgain(w, r, who, err)
		return
	}
	if do != "approve" && do != "deny" {
		s.message(w, r, who, refuse(http.StatusBadRequest, ReasonInvalid, "The form says neither yes nor no. Type the code again."))
		return
	}
	chosen, wrong := chosenUsers(r.PostForm["user"], r.PostForm.Get("others"))
	if do == "deny" {
		chosen, wrong = nil, ""
	}
	if wrong != "" {
		err = refuse(http.StatusUnprocessableEntity, ReasonInvalid, wrong)
	} else {
		err = s.decide(r.Context(), f.Code.Hash, who, do == "approve", chosen)
	}
	if refusal, ok := onPage(err); ok && refusal.status == http.StatusUnprocessableEntity {
		s.headers(w, r, refusal)
		s.showFacts(w, r, who, f, refusal.status, func(p *requestPage) {
			p.Refused, p.Others = refusal.detail, r.PostForm.Get("others")
			p.Ticked = p.Requester != "" && slices.Contains(r.PostForm["user"], p.Requester)
		})
		return
	}
	if err != nil {
		s.askCodeAgain(w, r, who, err)
		return
	}
	s.render(w, r, http.StatusOK, "decided.html", struct {
		frame
		Approved bool
		Device   string
		Allowed  []string
		Mailed   bool
	}{s.frame(map[bool]string{true: "Allowed", false: "Denied"}[do == "approve"], who, "device"), do == "approve", f.title(), chosen, s.Mailer != nil})
}

func (f facts) title() string {
	a := f.Code.Asked
	for _, text := range []string{a.Name, a.kind(), a.UUID, a.PrinterID} {
		if text != "" {
			return text
		}
	}
	return ""
}

// chosenUsers are the mail addresses that an administrator ticked and typed, each once.
func chosenUsers(ticked []string, typed string) (chosen []string, wrong string) {
	for _, text := range append(slices.Clone(ticked), strings.FieldsFunc(typed, func(r rune) bool { return strings.ContainsRune(" \t\r\n,;", r) })...) {
		mail, ok := mailOf(text)
		if !ok {
			shown := []rune(text)
			return nil, "“" + string(shown[:min(len(shown), 64)]) + "” is no mail address."
		}
		if !slices.Contains(chosen, mail) {
			chosen = append(chosen, mail)
		}
	}
	return chosen, ""
}
