package print

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

// printerRecord is a device that was entered.
type printerRecord struct {
	ID          string    `json:"id"`
	Number      int       `json:"number"` // 1 to 65535 (PWG 5100.22), never another printer's
	PrinterUUID string    `json:"printerUuid"`
	UUID        string    `json:"uuid"` // of the device
	Name        string    `json:"name"`
	Make        string    `json:"make"`
	Model       string    `json:"model"`
	Serial      string    `json:"serial"`
	Location    string    `json:"location"`
	Site        string    `json:"site"`
	Users       []allowed `json:"users"`
	Certificate []byte    `json:"certificate,omitempty"` // DER; none for a device that was entered over IPP
	At          time.Time `json:"at"`                    // first entered
	RenewedAt   time.Time `json:"renewedAt"`             // last entered
	By          string    `json:"by"`                    // the administrator
}

// allowed is a user of a printer.
type allowed struct {
	Mail string    `json:"mail"`
	By   string    `json:"by"`
	At   time.Time `json:"at"`
}

// countRecord counts what is bounded over all. It is read and written by whoever adds one.
type countRecord struct {
	Printers int `json:"printers"`
	Numbers  int `json:"numbers"` // given out
	People   int `json:"people"`
}

const (
	countKey   = "count"
	maxNumbers = 65535
)

func printerKey(id string) string  { return "printer/" + id }
func deviceKey(uuid string) string { return "device/" + uuid } // the id of its printer

func printerOf(at store.Getter, a asked) (*printerRecord, error) {
	id := a.PrinterID
	if id == "" {
		found, there, err := get[string](at, deviceKey(a.UUID))
		if err != nil || !there {
			return nil, err
		}
		id = found
	}
	p, there, err := get[printerRecord](at, printerKey(id))
	if err != nil || !there {
		return nil, err
	}
	return &p, nil
}

// entry is a device that shall be a printer.
type entry struct {
	asked
	Allowed []string
	By      string
}

// entry is what was approved. What a device says of itself now only fills in what it did not say then: the administrator saw the rest.
func (t tokenRecord) entry(now asked) entry {
	e := entry{asked: t.Asked, Allowed: t.Allowed, By: t.By}
	if e.kind() == "" {
		e.Make, e.Model = now.Make, now.Model
	}
	for _, fact := range []struct {
		to  *string
		now string
	}{{&e.Name, now.Name}, {&e.Serial, now.Serial}, {&e.Location, now.Location}} {
		if *fact.to == "" {
			*fact.to = fact.now
		}
	}
	return e
}

// errElse says that the device has got, or lost, its printer since a name for it was chosen. The next try finds it so.
var errElse = errors.New("the device's printer is another one since")

// enterAs makes a device's printer under a new id, or finds it under the one it has: by its UUID there is one. The users of the
// approval are added to those it has. Who sets more of the printer writes it again.
func (s *Service) enterAs(tx store.Tx, e entry, id string) (p printerRecord, err error) {
	now := s.Clock.Now().UTC()
	before, err := printerOf(tx, asked{UUID: e.UUID})
	if err != nil {
		return p, err
	}
	count, _, err := get[countRecord](tx, countKey)
	if err != nil {
		return p, err
	}
	// What may be refused is refused before anything is written: the caller goes on in the transaction, to note the refusal.
	switch {
	case before == nil && (count.Printers >= maxPrinters || count.Numbers >= maxNumbers):
		return p, refuse(http.StatusServiceUnavailable, ReasonTooMany, "The service has no room for another printer; unregister one first.")
	case before != nil && before.with(e.Allowed) > maxPerPrinter:
		return p, errManyUsers()
	case count.People+len(e.Allowed) > maxPeople:
		return p, errManyPeople()
	case before != nil && before.ID != id:
		return p, errElse
	case before != nil:
		p = *before
	default:
		count.Printers++
		count.Numbers++
		p = printerRecord{ID: id, Number: count.Numbers, PrinterUUID: newUUID(), UUID: e.UUID, At: now}
		if err := errors.Join(store.SetJSON(tx, countKey, count), store.SetJSON(tx, deviceKey(e.UUID), p.ID)); err != nil {
			return p, err
		}
	}
	for text, to := range map[*string]*string{&e.Name: &p.Name, &e.Make: &p.Make, &e.Model: &p.Model, &e.Serial: &p.Serial, &e.Location: &p.Location, &e.Site: &p.Site} {
		if *text != "" {
			*to = *text
		}
	}
	p.RenewedAt, p.By = now, e.By
	for _, mail := range e.Allowed {
		if err := s.allow(tx, &p, mail, e.By, now); err != nil {
			return p, err
		}
	}
	after, err := json.Marshal(map[string]any{"device": p.UUID, "serial": p.Serial, "users": p.mails()})
	if err != nil {
		return p, err
	}
	return p, errors.Join(store.SetJSON(tx, printerKey(p.ID), p),
		s.journal.Audit(tx, journal.Entry{Actor: e.By, Action: "printer.registered", Object: p.ID, After: after}))
}

func (p printerRecord) mails() []string {
	mails := make([]string, len(p.Users))
	for i, u := range p.Users {
		mails[i] = u.Mail
	}
	return mails
}

// allow adds a user to a printer, which the caller writes, and to the directory.
func (s *Service) allow(tx store.Tx, p *printerRecord, mail, by string, now time.Time) error {
	if slices.Contains(p.mails(), mail) {
		return nil
	}
	if len(p.Users) >= maxPerPrinter {
		return errManyUsers()
	}
	p.Users = append(p.Users, allowed{mail, by, now})
	return s.meet(tx, mail, by, p.title(), now)
}

// with is how many users there are with these.
func (p printerRecord) with(mails []string) int {
	n, have := len(p.Users), p.mails()
	for _, mail := range mails {
		if !slices.Contains(have, mail) {
			n++
		}
	}
	return n
}

func errManyUsers() error {
	return refuse(http.StatusConflict, ReasonTooMany, "The printer has 200 users already.")
}

func errManyPeople() error {
	return refuse(http.StatusServiceUnavailable, ReasonTooMany, "The service has no room for another user.")
}

func (p printerRecord) title() string {
	for _, text := range []string{p.Name, (asked{Make: p.Make, Model: p.Model}).kind(), p.ID} {
		if text != "" {
			return text
		}
	}
	return ""
}

// allowChosen adds a user whom the administrator of the grant chose.
func (s *Service) allowChosen(tx store.Tx, p *printerRecord, t tokenRecord, mail string) (d userDocument, err error) {
	if !slices.Contains(t.Allowed, mail) {
		return d, refuse(http.StatusForbidden, ReasonNotChosen, "The administrator did not allow this user.")
	}
	had := len(p.Users)
	if err := s.allow(tx, p, mail, t.By, s.Clock.Now().UTC()); err != nil {
		return d, err
	}
	if len(p.Users) > had {
		if err := s.journal.Audit(tx, journal.Entry{Actor: t.By, Action: "user.allowed", Object: p.ID, Detail: mail}); err != nil {
			return d, err
		}
	}
	users, err := usersOf(tx, printerRecord{Users: []allowed{{Mail: mail}}})
	if err != nil {
		return d, err
	}
	return users[0], nil
}

// unregister takes a printer away. Who registers the device again gets another one.
func (s *Service) unregister(tx store.Tx, id, by string) error {
	p, there, err := get[printerRecord](tx, printerKey(id))
	if err != nil || !there {
		return errors.Join(err, refuse(http.StatusNotFound, ReasonNoPrinter, "There is no such printer here (any more)."))
	}
	count, _, err := get[countRecord](tx, countKey)
	if err != nil {
		return err
	}
	count.Printers--
	return errors.Join(store.SetJSON(tx, countKey, count), tx.Delete(printerKey(id)), tx.Delete(deviceKey(p.UUID)),
		s.journal.Audit(tx, journal.Entry{Actor: by, Action: "printer.unregistered", Object: id, Detail: "device " + p.UUID}))
}

func newUUID() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	return mfpgate.MakeUUID(4, random)
}
