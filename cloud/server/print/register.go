package print

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

// kindRegister is the intent of an operation: certify and enter a device.
const kindRegister = "register"

// The states of an operation.
const (
	running   = "running"
	succeeded = "succeeded"
	failed    = "failed"
)

// operationRecord is one registration under way, or its end.
type operationRecord struct {
	ID      string    `json:"id"`
	Grant   string    `json:"grant"` // the code's id
	Code    string    `json:"code"`  // the code's hash, whose listeners are told
	State   string    `json:"state"`
	Entry   entry     `json:"entry"`
	CSR     []byte    `json:"csr"`
	User    string    `json:"user"` // for whom the device asked; "" for nobody
	At      time.Time `json:"at"`
	Printer string    `json:"printer,omitempty"` // its id, once succeeded
	Issued  []byte    `json:"issued,omitempty"`
	Error   string    `json:"error,omitempty"`
}

func operationKey(id string) string { return "operation/" + id }

// registration is the body of POST /print/v1/printers.
type registration struct {
	DeviceUUID string `json:"deviceUuid"`
	Name       string `json:"name"`
	Make       string `json:"make"`
	Model      string `json:"model"`
	Serial     string `json:"serial"`
	Location   string `json:"location"`
	User       string `json:"user"`
	CSR        []byte `json:"certificateRequest"`
}

// postPrinter begins a registration. Everything that can be refused is refused here; the operation cannot fail on what was sent.
func (s *Service) postPrinter(w http.ResponseWriter, r *http.Request) {
	id, err := s.begin(w, r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	w.Header().Set("Operation-Location", s.base()+"/print/v1/operations/"+id)
	w.Header().Set("Retry-After", "1")
	writeJSON(w, http.StatusAccepted, operationDocument{ID: id, Status: running})
}

func (s *Service) begin(w http.ResponseWriter, r *http.Request) (id string, err error) {
	token, t, err := s.granted(r)
	if err != nil {
		return "", err
	}
	if err := t.needs(ScopeRegister); err != nil {
		return "", err
	}
	key := strings.TrimSpace(r.Header.Get("Idempotency-Key"))
	if strings.Trim(key, `"`) == "" || len(key) > maxText {
		return "", refuse(http.StatusBadRequest, ReasonNoKey, "Send an Idempotency-Key that is unique to this request.")
	}
	var in registration
	if err := document(w, r, &in); err != nil {
		return "", err
	}
	e, err := in.check(t)
	if err != nil {
		return "", err
	}
	if _, err := checkRequest(in.CSR); err != nil {
		return "", err
	}
	op := operationRecord{ID: mfpgate.NewID(s.Clock, "opr"), Grant: t.Code, Code: t.CodeHash, State: running, Entry: e, CSR: in.CSR, User: in.User, At: s.Clock.Now().UTC()}
	payload, err := json.Marshal(op.ID)
	if err != nil {
		return "", err
	}
	err = s.update(r.Context(), func(tx store.Tx) error {
		t, err := s.grant(tx, token)
		if err != nil {
			return err
		}
		id, _, err = journal.Once(tx, "print/printers/"+t.Code, key, in, func() (string, error) {
			if t.Operation++; t.Operation > maxOperations {
				return "", refuse(http.StatusTooManyRequests, ReasonTooMany, "This grant has begun 20 registrations. Ask for another approval.")
			}
			return op.ID, errors.Join(
				store.SetJSON(tx, tokenKey(s.tokenHash(token.Reveal())), t),
				store.SetJSON(tx, operationKey(op.ID), op),
				// One after the other for one device, so that each finds the printer that the one before it made.
				s.journal.Intend(tx, journal.Intent{ID: op.ID, Kind: kindRegister, Object: "device/" + e.UUID, Payload: payload}),
				s.journal.Intend(tx, journal.Intent{
					ID: "forget/" + op.ID, Kind: kindForget, NotBefore: op.At.Add(remembered), Payload: forgetting(operationKey(op.ID)),
				}),
			)
		})
		if errors.Is(err, journal.ErrDiffers) {
			return refuse(http.StatusUnprocessableEntity, ReasonKeyReuse, "The key was used for another body; send a new one.")
		}
		return err
	})
	return id, err
}

// check holds what is to be registered against what was approved.
func (in registration) check(t tokenRecord) (e entry, err error) {
	for name, text := range map[string]*string{"name": &in.Name, "make": &in.Make, "model": &in.Model, "serial": &in.Serial, "location": &in.Location, "user": &in.User} {
		fit, ok := plain(*text)
		if !ok {
			return e, refuse(http.StatusUnprocessableEntity, ReasonInvalid, name+" must be UTF-8 of at most 256 bytes.")
		}
		*text = fit
	}
	if uuid := strings.ToLower(in.DeviceUUID); uuid != t.Asked.UUID {
		return e, refuse(http.StatusForbidden, ReasonOtherDevice, "The administrator approved another device than this deviceUuid.")
	}
	return t.entry(asked{Name: in.Name, Make: in.Make, Model: in.Model, Serial: in.Serial, Location: in.Location}), nil
}

// register carries an operation out: it is made sure that a device has one printer, and one certificate that holds.
func (s *Service) register(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
	var id string
	if err := json.Unmarshal(in.Payload, &id); err != nil {
		return nil, journal.Permanent(err)
	}
	var op operationRecord
	var before *printerRecord
	err := s.Store.View(ctx, func(at store.Snapshot) (err error) {
		if op, _, err = store.FindJSON[operationRecord](at, operationKey(id)); err == nil {
			before, err = printerOf(at, asked{UUID: op.Entry.UUID})
		}
		return err
	})
	if err != nil || op.State != running {
		return nil, err
	}
	key, err := checkRequest(op.CSR)
	if err != nil {
		return nil, journal.Permanent(err)
	}
	// The printer's id stands in the certificate, so it is made before the transaction, which finds out whether it still fits.
	name := mfpgate.NewID(s.Clock, "prn")
	if before != nil {
		name = before.ID
	}
	certificate, err := s.certify(name, op.Entry.UUID, key)
	if err != nil {
		return nil, fmt.Errorf("certify: %w", err)
	}
	return func(tx store.Tx) error {
		p, err := s.enterAs(tx, op.Entry, name)
		var no *refusal
		switch {
		case errors.As(err, &no):
			op.State, op.Error = failed, no.detail
		case err != nil:
			return err
		default:
			op.State, op.Printer, op.Issued, op.Error = succeeded, p.ID, certificate, ""
			p.Certificate = certificate
			err = store.SetJSON(tx, printerKey(p.ID), p)
		}
		return errors.Join(err, store.SetJSON(tx, operationKey(id), op))
	}, nil
}

// ended tells who listens that an operation has come to its end.
func (s *Service) ended(id string) {
	var op operationRecord
	err := s.Store.View(context.Background(), func(at store.Snapshot) (err error) {
		op, _, err = store.FindJSON[operationRecord](at, operationKey(id))
		return err
	})
	if err == nil { // else the client asks by itself
		s.streams.changed(op.Code)
	}
}
