package print

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/print/ippsystem"
	"github.com/mfpgate/mfpgate/store"
)

// system is the service over IPP (PWG 5100.22): the same grants, the same printers, and no certificates.
type system struct{ *Service }

// System says what the service is over IPP.
func (s system) System() ippsystem.System {
	base := s.base()
	uri := "ipp://" + strings.TrimPrefix(base, "http://")
	if rest, ok := strings.CutPrefix(base, "https://"); ok {
		uri = "ipps://" + rest
	}
	return ippsystem.System{
		URI: uri + ippsystem.Path, Name: "mfpcloud print service " + s.Region, UUID: s.systemUUID(), Issuer: base, Scope: ScopeRegister, UpTime: s.Clock.Now().Sub(s.begun),
	}
}

// systemUUID is the same as long as the service has its key.
func (s *Service) systemUUID() string {
	return mfpgate.MakeUUID(8, [16]byte(s.Sealer.MAC("print/system", s.Region)))
}

// Register enters the device that the token was approved for.
func (s system) Register(ctx context.Context, token mfpgate.Secret, d ippsystem.OutputDevice) (ippsystem.Printer, error) {
	name := mfpgate.NewID(s.Clock, "prn")
	var p printerRecord
	var of tokenRecord
	err := s.update(ctx, func(tx store.Tx) error {
		t, err := s.grant(tx, token)
		if err == nil {
			err = t.needs(ScopeRegister)
		}
		if err != nil {
			return err
		}
		of = t
		if d.UUID != t.Asked.UUID {
			return refuse(http.StatusForbidden, ReasonOtherDevice, "The administrator approved another device than this UUID.")
		}
		e := t.entry(asked{Name: d.Name, Model: d.MakeAndModel, Serial: d.Serial, Location: d.Location})
		before, err := printerOf(tx, asked{UUID: d.UUID})
		if err != nil {
			return err
		}
		id := name
		if before != nil {
			id = before.ID
		}
		p, err = s.enterAs(tx, e, id)
		return err
	})
	if err != nil {
		return ippsystem.Printer{}, overIPP(err)
	}
	s.streams.changed(of.CodeHash)
	return ippsystem.Printer{Number: p.Number, UUID: p.PrinterUUID, URI: s.printerURI(p.ID)}, nil
}

// Deregister takes the device's printer away.
func (s system) Deregister(ctx context.Context, token mfpgate.Secret, uuid string) error {
	return overIPP(s.update(ctx, func(tx store.Tx) error {
		t, err := s.grant(tx, token)
		if err == nil {
			err = t.needs(ScopeRegister)
		}
		if err != nil {
			return err
		}
		if uuid != t.Asked.UUID {
			return refuse(http.StatusForbidden, ReasonOtherDevice, "The grant is for another device.")
		}
		p, err := printerOf(tx, asked{UUID: uuid})
		if err != nil {
			return err
		}
		if p == nil {
			return ippsystem.ErrNoDevice
		}
		return s.unregister(tx, p.ID, t.Client+", approved by "+t.By)
	}))
}

// overIPP gives a refusal the sentinel that IPP has a status for.
func overIPP(err error) error {
	var f *refusal
	if !errors.As(err, &f) {
		if errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrConflict) {
			return errors.Join(ippsystem.ErrBusy, err)
		}
		return err
	}
	switch f.status {
	case http.StatusUnauthorized:
		return errors.Join(ippsystem.ErrToken, err)
	case http.StatusForbidden, http.StatusConflict:
		return errors.Join(ippsystem.ErrNotAllowed, err)
	case http.StatusNotFound:
		return errors.Join(ippsystem.ErrNoDevice, err)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return errors.Join(ippsystem.ErrBusy, err)
	}
	return err
}
