package print

import (
	"net/http"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/throttle"
)

// administrator is the mail address of the administrator who asks (RFC 7617), or a refusal.
func (s *Service) administrator(r *http.Request) (string, error) {
	ask := func(detail string) *refusal {
		return refuse(http.StatusUnauthorized, ReasonNoLogin, detail).
			with("WWW-Authenticate", `Basic realm="print service `+s.Region+`", charset="UTF-8"`)
	}
	mail, password, ok := r.BasicAuth()
	if !ok {
		return "", ask("Log in as an administrator of the print service. `mfpcloud administrator add EMAIL --state DIR` makes an account and prints its password.")
	}
	// A password has 130 random bits, so it is not guesses that this bounds, but the log and the disk.
	source := throttle.Source(r.RemoteAddr)
	if wait := s.passwords.Take(source); wait > 0 {
		return "", refuse(http.StatusTooManyRequests, ReasonThrottled, "Too many wrong passwords came from this address. Wait.").after(wait)
	}
	mail, ok = mailOf(mail)
	if ok {
		var err error
		if ok, err = s.Administrator(mail, mfpgate.Secret(password)); err != nil {
			return "", err
		}
	}
	if !ok {
		return "", ask("The administrator's mail address or password is wrong.")
	}
	s.passwords.GiveBack(source)
	s.Caller(r, mail)
	return mail, nil
}
