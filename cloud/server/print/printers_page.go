package print

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

// printersShown is how many printers one page has.
const printersShown = 25

type printerRow struct {
	ID, Path    string
	Title, Kind string
	Serial      string
	Location    string
	Site        string
	UUID        string
	Users       []userRow
	Fingerprint string
	Since       moment
	Renewed     moment
	By          string
}

type userRow struct {
	Mail, State string
	Told        string // of the letter
	Bad         bool
	Link        string // to hand on, where there is no mail
	CanRemind   bool
}

func (s *Service) listPrinters(w http.ResponseWriter, r *http.Request, who string) {
	now := s.Clock.Now()
	var rows []printerRow
	next := ""
	err := s.Store.View(r.Context(), func(snapshot store.Snapshot) error {
		rows, next = nil, ""
		after := ""
		if from := r.URL.Query().Get("after"); from != "" && len(from) <= 64 {
			after = printerKey(from)
		}
		found, err := snapshot.Scan(printerKey(""), after, printersShown+1)
		if err != nil {
			return err
		}
		if len(found) > printersShown {
			found = found[:printersShown]
			next = "/print/?" + url.Values{"after": {found[printersShown-1].Key[len(printerKey("")):]}}.Encode()
		}
		for _, record := range found {
			p, err := decoded[printerRecord](record)
			if err != nil {
				return err
			}
			row, err := s.row(snapshot, p, now)
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
		return nil
	})
	if err != nil {
		s.message(w, r, who, err)
		return
	}
	s.render(w, r, http.StatusOK, "printers.html", struct {
		frame
		Printers []printerRow
		Next     string
	}{s.frame("Printers", who, "printers"), rows, next})
}

func (s *Service) row(from store.Getter, p printerRecord, now time.Time) (printerRow, error) {
	row := printerRow{
		ID: p.ID, Path: "/print/printers/" + url.PathEscape(p.ID), Title: p.title(), Kind: kindOf(p), Serial: p.Serial, Location: p.Location, Site: p.Site,
		UUID: p.UUID, Fingerprint: grouped(fingerprint(p.Certificate), 8), Since: at(p.At, now), Renewed: at(p.RenewedAt, now), By: p.By,
	}
	for _, u := range p.Users {
		who, _, err := store.FindJSON[person](from, personKey(u.Mail))
		if err != nil {
			return row, err
		}
		row.Users = append(row.Users, s.userRow(u, who, now))
	}
	return row, nil
}

func kindOf(p printerRecord) string {
	if kind := (asked{Make: p.Make, Model: p.Model}).kind(); kind != p.title() {
		return kind
	}
	return ""
}

func (s *Service) userRow(u allowed, who person, now time.Time) userRow {
	row := userRow{Mail: u.Mail, State: userAllowed}
	if who.ConfirmedAt != nil {
		return row
	}
	row.State, row.CanRemind = userUnconfirmed, now.Sub(who.InvitedAt) >= inviteAgain
	switch {
	case s.Mailer == nil && now.Sub(who.InvitedAt) < linkLife:
		row.Link = s.link(who)
	case s.Mailer == nil:
		row.Told, row.Bad = "the link is too old", true
	case who.LetterError != "":
		row.Told, row.Bad = "the letter was refused: "+who.LetterError, true
	case who.SentAt == nil:
		row.Told = "the letter is under way"
	default:
		row.Told = "letter of " + at(*who.SentAt, now).Text
	}
	return row
}

func (s *Service) unregisterOne(w http.ResponseWriter, r *http.Request, who string) {
	err := s.update(r.Context(), func(tx store.Tx) error { return s.unregister(tx, r.PathValue("id"), who) })
	s.back(w, r, who, err)
}

func (s *Service) remindOne(w http.ResponseWriter, r *http.Request, who string) {
	s.back(w, r, who, s.ofPrinter(w, r, func(p printerRecord, mail string) error {
		return s.remind(r.Context(), mail, who, p.title())
	}))
}

func (s *Service) removeOne(w http.ResponseWriter, r *http.Request, who string) {
	s.back(w, r, who, s.ofPrinter(w, r, func(p printerRecord, mail string) error {
		return s.update(r.Context(), func(tx store.Tx) error {
			p, there, err := store.FindJSON[printerRecord](tx, printerKey(p.ID))
			if err != nil || !there {
				return err
			}
			p.Users = slices.DeleteFunc(p.Users, func(u allowed) bool { return u.Mail == mail })
			return errors.Join(store.SetJSON(tx, printerKey(p.ID), p),
				s.journal.Audit(tx, journal.Entry{Actor: who, Action: "user.removed", Object: p.ID, Detail: mail}))
		})
	}))
}

// ofPrinter reads which user of which printer a form is about: only those who are there.
func (s *Service) ofPrinter(w http.ResponseWriter, r *http.Request, do func(p printerRecord, mail string) error) error {
	if err := pageForm(w, r); err != nil {
		return err
	}
	var p printerRecord
	err := s.Store.View(r.Context(), func(at store.Snapshot) (err error) {
		p, _, err = store.FindJSON[printerRecord](at, printerKey(r.PathValue("id")))
		return err
	})
	if err != nil {
		return err
	}
	mail := r.PostForm.Get("user")
	if !slices.Contains(p.mails(), mail) {
		return refuse(http.StatusNotFound, ReasonNoPrinter, "The printer, or this user of it, is not there any more.")
	}
	return do(p, mail)
}

// back shows the list again after a change.
func (s *Service) back(w http.ResponseWriter, r *http.Request, who string, err error) {
	if err != nil {
		s.message(w, r, who, err)
		return
	}
	http.Redirect(w, r, "/print/", http.StatusSeeOther)
}

// askConfirm shows what a link is for, to whoever opens it: people, and scanners of their mail.
func (s *Service) askConfirm(w http.ResponseWriter, r *http.Request) {
	var p person
	err := s.Store.View(r.Context(), func(at store.Snapshot) (err error) {
		p, err = s.linked(at, r.PathValue("token"), s.Clock.Now())
		return err
	})
	s.showConfirm(w, r, p, err)
}

func (s *Service) takeConfirm(w http.ResponseWriter, r *http.Request) {
	p, err := s.confirm(r.Context(), r.PathValue("token"))
	s.showConfirm(w, r, p, err)
}

func (s *Service) showConfirm(w http.ResponseWriter, r *http.Request, p person, err error) {
	if err != nil {
		s.message(w, r, "", err)
		return
	}
	s.render(w, r, http.StatusOK, "confirm.html", struct {
		frame
		Mail, By, Printer string
		Done              bool
	}{s.frame("Confirm your mail address", "", ""), p.Mail, p.By, p.Printer, p.ConfirmedAt != nil})
}
