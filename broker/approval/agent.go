package approval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

// ForDevice returns what a device of mode agent has to do, the oldest first. It is small work, for each poll of each device.
func (b *Broker) ForDevice(ctx context.Context, device mfpgate.DeviceID) (list []mfpgate.Registration, err error) {
	err = b.Store.View(ctx, func(s store.Snapshot) error {
		list = nil
		d, _, err := store.FindJSON[toDo](s, devicePrefix+digest(string(device)))
		if err != nil {
			return err
		}
		for _, id := range d.IDs {
			r, err := getRecord(s, id)
			if err != nil {
				return err
			}
			if r.withDevice() && r.Device.ID == device {
				list = append(list, r.Registration)
			}
		}
		return nil
	})
	return list, err
}

// Report takes over what a device says of its request. The same report again does nothing. ErrNotFound also for a registration of
// another device; a Refusal for one that has ended otherwise, and for a result that makes no sense.
func (b *Broker) Report(ctx context.Context, device mfpgate.DeviceID, id string, q Result) error {
	if err := q.check(); err != nil {
		return err
	}
	text, err := json.Marshal(q)
	if err != nil {
		return err
	}
	sum := digest(string(text))
	err = b.act(ctx, id, func(tx store.Tx, r *record) error {
		switch {
		case r.Device.ID != device || r.Mode != mfpgate.RegistrationAgent:
			return ErrNotFound
		case r.Result == sum, r.Result == late:
			return errKnown
		case q.State == mfpgate.RegistrationAwaitingAdmin && r.Reports >= MaxReports:
			return refuse(TooMany, fmt.Sprintf("There were %d reports on the way already. Report the end.", MaxReports))
		}
		r.Reports++
		if q.State == mfpgate.RegistrationRegistered { // true at the service, whatever was thought of it meanwhile
			if err := b.keepPrinter(tx, r, q); err != nil {
				return err
			}
		}
		if !r.withDevice() {
			return b.tooLate(tx, r, q)
		}
		r.Result = sum
		actor := "device " + string(device)
		switch q.State {
		case mfpgate.RegistrationAwaitingAdmin:
			b.move(r, mfpgate.RegistrationAwaitingAdmin, q.Reason, mfpgate.CleanText(q.Detail, maxText))
			return nil
		case mfpgate.RegistrationRegistered:
			r.PrinterID, r.PrinterURI, r.Certificate, r.CertificateExpires = q.PrinterID, q.PrinterURI, q.Certificate, q.CertificateExpires
			became := map[mfpgate.Reason]mfpgate.PrintUser{UserUnconfirmed: mfpgate.PrintUserUnconfirmed, UserNotAllowed: mfpgate.PrintUserNotAllowed}
			return b.registered(tx, r, became[q.Reason], actor)
		}
		why := q.Reason
		if why == "" {
			why = ByDevice
		}
		return b.fail(tx, r, why, mfpgate.CleanText(q.Detail, maxText), actor)
	})
	if errors.Is(err, errKnown) {
		return nil
	}
	return err
}

// errKnown keeps a report that says nothing new from being written: a device may send it as often as it likes.
var errKnown = errors.New("reported before")

// late is in the place of a report's digest when it came too late.
const late = "late"

// tooLate answers a report that comes when the registration is over. That the device is registered is kept all the same, and by
// that the same request made again only asks for its user.
func (b *Broker) tooLate(tx store.Tx, r *record, q Result) error {
	if q.State != mfpgate.RegistrationRegistered {
		return refuse(NotNow, "The registration has ended, or was not given to the device.")
	}
	r.Result = late
	return b.audit(tx, r, "device "+string(r.Device.ID), "reported-late", string(q.State))
}

func (b *Broker) keepPrinter(tx store.Tx, r *record, q Result) error {
	if r.Purpose == mfpgate.PurposeAllowUser {
		return nil
	}
	_, there, err := store.FindJSON[printer](tx, r.printerKey())
	if err != nil || there {
		return err
	}
	return store.SetJSON(tx, r.printerKey(), printer{Schema: schema, Device: r.Device.ID, Service: r.Service, ID: q.PrinterID, URI: q.PrinterURI,
		Registration: r.ID, Fingerprint: q.Certificate, Expires: q.CertificateExpires.UTC()})
}

func (q Result) check() error {
	bad := func(err error) error { return refuse(BadRequest, fmt.Sprintf("The report makes no sense: %v.", err)) }
	switch q.State {
	case mfpgate.RegistrationAwaitingAdmin, mfpgate.RegistrationFailed:
	case mfpgate.RegistrationRegistered:
		if err := badPrinter(mfpgate.Printer{ID: q.PrinterID, URI: q.PrinterURI}); err != nil {
			return bad(err)
		}
	default:
		return bad(fmt.Errorf("state %.40q", q.State))
	}
	if q.Certificate != "" && (len(q.Certificate) != 64 || strings.Trim(q.Certificate, "0123456789abcdef") != "") {
		return bad(errors.New("a certificate's SHA-256 has 64 digits in lower case"))
	}
	if len(q.Reason) > 64 || strings.Trim(string(q.Reason), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return bad(errors.New("a reason is one word in lower case"))
	}
	return nil
}
