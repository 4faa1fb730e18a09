package print

import (
	"net/http"
	"strings"

	"github.com/mfpgate/mfpgate/store"
)

// operationDocument is what an operation says of itself.
type operationDocument struct {
	ID          string `json:"operationId"`
	Status      string `json:"status"`
	PrinterID   string `json:"printerId,omitempty"`
	PrinterURI  string `json:"printerUri,omitempty"`
	Certificate []byte `json:"certificate,omitempty"` // DER
	// User is the state of the user that the registration named, "" if it named none.
	User  string `json:"userState,omitempty"`
	Error string `json:"error,omitempty"`
}

// The states of a printer's user.
const (
	userAllowed     = "allowed"
	userUnconfirmed = "unconfirmed"
	userNotAllowed  = "not-allowed" // none of a printer's: whom a registration named, and the administrator did not choose
)

// userDocument is one user of a printer.
type userDocument struct {
	User  string `json:"user"`
	State string `json:"state"`
}

// printerDocument is what a printer says of itself.
type printerDocument struct {
	ID          string         `json:"printerId"`
	URI         string         `json:"printerUri"`
	UUID        string         `json:"deviceUuid"`
	Name        string         `json:"name"`
	Make        string         `json:"make"`
	Model       string         `json:"model"`
	Serial      string         `json:"serial"`
	Location    string         `json:"location"`
	Users       []userDocument `json:"users"`
	Certificate []byte         `json:"certificate,omitempty"`
}

// printerURI is where a printer's jobs come from.
func (s *Service) printerURI(id string) string {
	base := s.base()
	if rest, ok := strings.CutPrefix(base, "https://"); ok {
		return "ipps://" + rest + "/ipp/print/" + id
	}
	return "ipp://" + strings.TrimPrefix(base, "http://") + "/ipp/print/" + id
}

// usersOf are a printer's users with their states.
func usersOf(at store.Getter, p printerRecord) ([]userDocument, error) {
	list := make([]userDocument, len(p.Users))
	for i, u := range p.Users {
		who, _, err := get[person](at, personKey(u.Mail))
		if err != nil {
			return nil, err
		}
		list[i] = userDocument{u.Mail, userUnconfirmed}
		if who.ConfirmedAt != nil {
			list[i].State = userAllowed
		}
	}
	return list, nil
}

func stateOf(users []userDocument, mail string) string {
	mail, _ = mailOf(mail)
	for _, u := range users {
		if u.User == mail {
			return u.State
		}
	}
	return ""
}

func (s *Service) getOperation(w http.ResponseWriter, r *http.Request) {
	_, t, err := s.granted(r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	id := r.PathValue("id")
	var d operationDocument
	err = s.Store.View(r.Context(), func(at store.Snapshot) error {
		op, there, err := get[operationRecord](at, operationKey(id))
		if err != nil {
			return err
		}
		if !there || op.Grant != t.Code {
			return refuse(http.StatusNotFound, ReasonNoOperation, "This grant has begun no such operation.")
		}
		d = operationDocument{ID: op.ID, Status: op.State, PrinterID: op.Printer, Certificate: op.Issued, Error: op.Error}
		if op.State != succeeded {
			return nil
		}
		d.PrinterURI = s.printerURI(op.Printer)
		p, _, err := get[printerRecord](at, printerKey(op.Printer))
		if err != nil {
			return err
		}
		users, err := usersOf(at, p)
		if d.User = stateOf(users, op.User); d.User == "" && op.User != "" {
			d.User = userNotAllowed
		}
		return err
	})
	if err != nil {
		s.problem(w, r, err)
		return
	}
	if d.Status == running {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, http.StatusOK, d)
}

func (s *Service) getPrinter(w http.ResponseWriter, r *http.Request) {
	_, t, err := s.granted(r)
	var d printerDocument
	if err == nil {
		err = s.Store.View(r.Context(), func(at store.Snapshot) error {
			p, err := t.own(at, r.PathValue("id"))
			if err != nil {
				return err
			}
			users, err := usersOf(at, p)
			d = printerDocument{
				ID: p.ID, URI: s.printerURI(p.ID), UUID: p.UUID, Name: p.Name, Make: p.Make, Model: p.Model, Serial: p.Serial, Location: p.Location,
				Users: users, Certificate: p.Certificate,
			}
			return err
		})
	}
	if err != nil {
		s.problem(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, d)
}

// deletePrinter unregisters. It needs the scope that registers, for the same device.
func (s *Service) deletePrinter(w http.ResponseWriter, r *http.Request) {
	token, t, err := s.granted(r)
	if err == nil {
		err = t.needs(ScopeRegister)
	}
	if err == nil {
		err = s.update(r.Context(), func(tx store.Tx) error {
			t, err := s.grant(tx, token)
			if err != nil {
				return err
			}
			p, err := t.own(tx, r.PathValue("id"))
			if err != nil {
				return err
			}
			return s.unregister(tx, p.ID, t.Client+", approved by "+t.By)
		})
	}
	if err != nil {
		s.problem(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// postUser allows one of the users whom the administrator chose. The same again changes nothing, so it needs no Idempotency-Key.
func (s *Service) postUser(w http.ResponseWriter, r *http.Request) {
	d, err := s.allowOne(w, r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, d)
}

func (s *Service) allowOne(w http.ResponseWriter, r *http.Request) (d userDocument, err error) {
	token, t, err := s.granted(r)
	if err != nil {
		return d, err
	}
	if err := t.needs(ScopeAllow); err != nil {
		return d, err
	}
	var in struct {
		User string `json:"user"`
	}
	if err := document(w, r, &in); err != nil {
		return d, err
	}
	mail, ok := mailOf(in.User)
	if !ok {
		return d, refuse(http.StatusUnprocessableEntity, ReasonInvalid, "user must be a mail address.")
	}
	err = s.update(r.Context(), func(tx store.Tx) error {
		t, err := s.grant(tx, token)
		if err != nil {
			return err
		}
		p, err := t.own(tx, r.PathValue("id"))
		if err != nil {
			return err
		}
		if d, err = s.allowChosen(tx, &p, t, mail); err != nil {
			return err
		}
		return store.SetJSON(tx, printerKey(p.ID), p)
	})
	return d, err
}
