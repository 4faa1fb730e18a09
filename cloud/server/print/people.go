package print

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

const (
	linkLife      = 7 * 24 * time.Hour
	inviteAgain   = time.Hour // between two letters to one person
	lettersAtOnce = 60
	lettersEvery  = time.Minute // 60 an hour, after the first 60
)

// person is a user of the service.
type person struct {
	ID          string     `json:"id"`
	Mail        string     `json:"mail"`
	ConfirmedAt *time.Time `json:"confirmedAt,omitempty"`
	InvitedAt   time.Time  `json:"invitedAt"`
	Invitation  int        `json:"invitation"` // the link of the last one is good
	By          string     `json:"by"`         // the administrator who chose this person last
	Printer     string     `json:"printer"`    // its name, for the letter
	LetterError string     `json:"letterError,omitempty"`
	SentAt      *time.Time `json:"sentAt,omitempty"`
}

func personKey(mail string) string { return "person/" + mail }
func personIDKey(id string) string { return "person-id/" + id } // the mail address

// mailOf returns a mail address as it is compared: in lower case.
func mailOf(text string) (string, bool) {
	mail, err := mfpgate.MailAddress(strings.TrimSpace(text))
	return strings.ToLower(mail), err == nil
}

// meet puts a person whom an administrator chose into the directory, with a letter if the address has not been confirmed.
func (s *Service) meet(tx store.Tx, mail, by, printer string, now time.Time) error {
	p, there, err := get[person](tx, personKey(mail))
	if err != nil {
		return err
	}
	if !there {
		count, _, err := get[countRecord](tx, countKey)
		if err != nil {
			return err
		}
		if count.People >= maxPeople {
			return errManyPeople()
		}
		count.People++
		p = person{ID: mfpgate.NewID(s.Clock, "usr"), Mail: mail}
		if err := errors.Join(store.SetJSON(tx, countKey, count), store.SetJSON(tx, personIDKey(p.ID), mail)); err != nil {
			return err
		}
	}
	if p.ConfirmedAt != nil || now.Sub(p.InvitedAt) < inviteAgain {
		return nil
	}
	p.InvitedAt, p.By, p.Printer, p.LetterError, p.SentAt = now, by, printer, "", nil
	p.Invitation++
	return errors.Join(store.SetJSON(tx, personKey(mail), p), s.intendLetter(tx, p))
}

// letterWork is an intent's payload.
type letterWork struct {
	Mail       string `json:"mail"`
	Invitation int    `json:"invitation"`
}

const kindLetter = "letter"

func (s *Service) intendLetter(tx store.Tx, p person) error {
	if s.Mailer == nil {
		return nil
	}
	payload, err := json.Marshal(letterWork{p.Mail, p.Invitation})
	if err != nil {
		return err
	}
	return s.journal.Intend(tx, journal.Intent{ID: fmt.Sprintf("letter/%s/%d", p.ID, p.Invitation), Kind: kindLetter, Payload: payload})
}

// linkToken names an invitation and proves that it was this service that made it. Nothing of it is stored.
func (s *Service) linkToken(p person) string {
	return p.ID + "." + base64.RawURLEncoding.EncodeToString(s.Sealer.MAC("print/confirm", fmt.Sprintf("%s/%d", p.ID, p.Invitation)))
}

func (s *Service) link(p person) string { return s.base() + "/print/confirm/" + s.linkToken(p) }

// invite sends a letter.
func (s *Service) invite(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
	var work letterWork
	if err := json.Unmarshal(in.Payload, &work); err != nil {
		return nil, journal.Permanent(err)
	}
	var p person
	err := s.Store.View(ctx, func(at store.Snapshot) (err error) {
		p, _, err = get[person](at, personKey(work.Mail))
		return err
	})
	if err != nil || p.ConfirmedAt != nil || p.Invitation != work.Invitation || s.Mailer == nil {
		return nil, err // there is nothing to confirm any more, or a later letter
	}
	if wait := s.letters.Take(""); wait > 0 {
		return nil, journal.RetryAfter(errors.New("too many letters this hour"), wait)
	}
	now := s.Clock.Now().UTC()
	err = s.Mailer.Send(ctx, mfpgate.Letter{
		ID: strings.ReplaceAll(in.ID, "/", "."), To: p.Mail, Subject: "Please confirm: you may print on " + oneLine(p.Printer), Text: s.letterText(p), Date: p.InvitedAt,
	})
	if errors.Is(err, mfpgate.ErrRefused) {
		text := err.Error()
		return s.told(p, func(p *person) { p.LetterError = text[:min(len(text), maxText)] }), nil
	}
	return s.told(p, func(p *person) {
		if err == nil {
			p.SentAt = &now
		}
	}), err
}

// oneLine is a text as a subject may have it, with plain spaces for all others: names in Japanese have wide ones.
func oneLine(text string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)), " ")
}

// told notes what became of a letter, unless there was another since.
func (s *Service) told(p person, note func(*person)) func(store.Tx) error {
	return func(tx store.Tx) error {
		now, there, err := get[person](tx, personKey(p.Mail))
		if err != nil || !there || now.Invitation != p.Invitation {
			return err
		}
		note(&now)
		return store.SetJSON(tx, personKey(p.Mail), now)
	}
}

func (s *Service) letterText(p person) string {
	return "Hello,\n\n" + p.By + " has allowed " + p.Mail + " to print on\n\n    " + p.Printer + "\n\n" +
		"Before your first print, please confirm that this mail address is yours. Open\n\n" + s.link(p) + "\n\n" +
		"and press Confirm there. Opening the page alone changes nothing. The link is good until " +
		p.InvitedAt.Add(linkLife).UTC().Format("2006-01-02 15:04") + " UTC.\n\n" +
		"If you know nothing of this, do nothing: nobody can print in your name then.\n"
}

// linked is the person whom a link was made for, or a refusal.
func (s *Service) linked(at store.Getter, token string, now time.Time) (person, error) {
	wrong := refuse(http.StatusNotFound, ReasonLink, "This link is not one of ours, or a later letter has another one. Open the link of the last letter.")
	id, _, ok := strings.Cut(token, ".")
	if !ok || len(token) > 128 {
		return person{}, wrong
	}
	mail, there, err := get[string](at, personIDKey(id))
	if err != nil {
		return person{}, err
	}
	if !there {
		return person{}, wrong
	}
	p, there, err := get[person](at, personKey(mail))
	switch {
	case err != nil:
		return person{}, err
	case !there || subtle.ConstantTimeCompare([]byte(token), []byte(s.linkToken(p))) != 1:
		return person{}, wrong
	case p.ConfirmedAt == nil && now.Sub(p.InvitedAt) >= linkLife:
		return person{}, refuse(http.StatusGone, ReasonLink, "This link is too old. Ask your administrator to send you another letter.")
	}
	return p, nil
}

// confirm notes that a person has the address. The same again changes nothing.
func (s *Service) confirm(ctx context.Context, token string) (p person, err error) {
	err = s.update(ctx, func(tx store.Tx) error {
		now := s.Clock.Now().UTC()
		if p, err = s.linked(tx, token, now); err != nil || p.ConfirmedAt != nil {
			return err
		}
		p.ConfirmedAt = &now
		return errors.Join(store.SetJSON(tx, personKey(p.Mail), p),
			s.journal.Audit(tx, journal.Entry{Actor: p.Mail, Action: "user.confirmed", Object: p.ID}))
	})
	return p, err
}

// remind sends a person another letter; the links of those before it are void then.
func (s *Service) remind(ctx context.Context, mail, by, printer string) error {
	return s.update(ctx, func(tx store.Tx) error {
		now := s.Clock.Now().UTC()
		p, there, err := get[person](tx, personKey(mail))
		if err != nil {
			return err
		}
		if wait := inviteAgain - now.Sub(p.InvitedAt); there && p.ConfirmedAt == nil && wait > 0 {
			return refuse(http.StatusTooManyRequests, ReasonThrottled, "The last letter is not an hour old. Try again later.").after(wait)
		}
		return s.meet(tx, mail, by, printer, now)
	})
}
