package registering_test

import (
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/internal/registering"
)

// of is a device's own only registration.
func (s *scene) of(d *device) mfpgate.Registration {
	s.t.Helper()
	list, err := d.List(s.t.Context())
	servertest.Must(s.t, err)
	if len(list) != 1 {
		s.t.Fatalf("the device has %d registrations, want 1: %+v", len(list), list)
	}
	return list[0]
}

func TestADeviceAloneRegistersItself(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := s.boot()
	begun, err := d.Register(t.Context(), "cloud", hana, it, "127.0.0.1", "once")
	servertest.Must(t, err)
	s.approve(s.code(1), hana)
	s.await("it is registered", func() bool { return s.of(d).State == mfpgate.RegistrationRegistered })
	if got := s.of(d); got.ID != begun.ID || got.PrinterID == "" || len(got.Certificate) != 64 {
		t.Errorf("got %+v", got)
	}
	if letters := s.box.Letters(); letters[0].From != "mfp-1@example.co.jp" {
		t.Errorf("the letter came from %s, want the device", letters[0].From)
	}
}

func TestADeviceRegistersItselfForItsGateway(t *testing.T) {
	t.Parallel()
	for name, session := range map[string]bool{"by long polls": false, "over a session": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			g := s.gateway()
			d := s.boot(g.serves(session))
			s.await("the device knows its name at the gateway", func() bool { return d.AtGateway() == atSite })
			wanted := g.request(hana)
			code := s.code(1)
			s.await("progress is reported", func() bool { return d.events.count(registering.Reported) == 1 })
			s.approve(code, hana)
			end, own := g.ends(wanted.ID), s.of(d)
			if end.State != mfpgate.RegistrationRegistered || end.PrinterID == "" || end.PrinterID != own.PrinterID || end.Certificate != own.Certificate ||
				end.PrinterURI != own.PrinterURI || !end.CertificateExpires.Equal(own.CertificateExpires) {
				t.Errorf("the gateway has %+v, the device %+v", end, own)
			}
			if own.User != hana || own.Admin != it || own.From != "10.0.0.7" {
				t.Errorf("the device asked for %+v", own)
			}
		})
	}
}

func TestTheDeviceIsSwitchedOffMeanwhile(t *testing.T) {
	t.Parallel()
	for name, session := range map[string]bool{"by long polls": false, "over a session": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			g := s.gateway()
			wanted := g.request(hana) // before the device is on
			d := s.boot(g.serves(session))
			code := s.code(1)
			d.stop()
			s.approve(code, hana)
			d = s.boot(g.serves(session))
			if end := g.ends(wanted.ID); end.State != mfpgate.RegistrationRegistered {
				t.Errorf("got %+v", end)
			}
			if own := s.of(d); own.Attempt != 1 || len(asked(s.box.Letters())) != 1 {
				t.Errorf("%d codes and %d letters, want 1 of each", own.Attempt, len(asked(s.box.Letters())))
			}
		})
	}
}

func TestTheGatewayIsSwitchedOffMeanwhile(t *testing.T) {
	t.Parallel()
	for name, session := range map[string]bool{"by long polls": false, "over a session": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			g := s.gateway()
			d := s.boot(g.serves(session))
			wanted := g.request(hana)
			code := s.code(1)
			g.stop()
			s.approve(code, hana)
			s.await("the device is registered", func() bool { return s.of(d).State == mfpgate.RegistrationRegistered })
			s.await("the device finds nobody", func() bool { return d.events.count(registering.Unreachable) > 0 })
			g.start()
			if end := g.ends(wanted.ID); end.State != mfpgate.RegistrationRegistered {
				t.Errorf("got %+v", end)
			}
		})
	}
}

func TestAFailureIsReportedWithItsReason(t *testing.T) {
	t.Parallel()
	s := open(t)
	g := s.gateway()
	d := s.boot(g.serves(false))
	denied := g.request(hana)
	s.approve(s.code(1)) // allows nobody: no
	if end := g.ends(denied.ID); end.State != mfpgate.RegistrationFailed || end.Reason != approval.Denied || end.Detail == "" {
		t.Errorf("what the administrator denied: %+v", end)
	}
	d.stop()

	s.boot(g.serves(false), func(o *registering.Options) { o.Services[0].URL = "https://elsewhere.example" })
	unknown := g.request("ken@example.co.jp")
	if end := g.ends(unknown.ID); end.Reason != approval.NoService || !strings.Contains(end.Detail, "does not know the print service office") {
		t.Errorf("a service that the device does not know: %+v", end)
	}
	if n := len(asked(s.box.Letters())); n != 1 {
		t.Errorf("%d letters to the administrator, want 1", n)
	}
}

func TestAnAdministratorOfAnotherDomainIsNotMailed(t *testing.T) {
	t.Parallel()
	s := open(t)
	g := s.gateway()
	s.boot(g.serves(false), func(o *registering.Options) { o.AdminDomains = []string{"example.com"} })
	if end := g.ends(g.request(hana).ID); end.Reason != approval.AdminDomain {
		t.Errorf("got %+v", end)
	}
	if n := len(s.box.Letters()); n != 0 {
		t.Errorf("%d letters, want none", n)
	}
}

func TestWhatTheGatewayWithdrawsEnds(t *testing.T) {
	t.Parallel()
	for name, session := range map[string]bool{"by long polls": false, "over a session": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			g := s.gateway()
			d := s.boot(g.serves(session))
			wanted := g.request(hana)
			s.code(1)
			servertest.Must(t, g.broker.Cancel(t.Context(), wanted.ID, "test"))
			s.await("the device gives it up", func() bool { return s.of(d).State == mfpgate.RegistrationCancelled })

			t.Log("while the device is off")
			again := g.request(hana)
			s.code(2)
			d.stop()
			servertest.Must(t, g.broker.Cancel(t.Context(), again.ID, "test"))
			d = s.boot(g.serves(session))
			s.await("the device gives it up", func() bool {
				list, err := d.List(t.Context())
				servertest.Must(t, err)
				for _, r := range list {
					if !r.State.Ended() {
						return false
					}
				}
				return len(list) == 2
			})
		})
	}
}

func TestTwoUsersOfOneDevice(t *testing.T) {
	t.Parallel()
	s := open(t)
	g := s.gateway()
	s.boot(g.serves(false))
	first := g.request(hana)
	s.approve(s.code(1), hana)
	printer := g.ends(first.ID).PrinterID
	second := g.request("ken@example.co.jp")
	s.approve(s.code(2), "ken@example.co.jp")
	if end := g.ends(second.ID); end.State != mfpgate.RegistrationRegistered || end.PrinterID != printer {
		t.Errorf("the second user: %+v, want printer %s", end, printer)
	}
}
