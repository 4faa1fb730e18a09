package ippsystem

import (
	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/print/exchange"
)

// SystemForTest reads an answer to Get-System-Attributes and says what it found.
func SystemForTest(body []byte, id uint32) (issuer, scope string, mandatory []string, registers bool, err error) {
	m, err := read(body, id)
	if err == nil {
		err = refusal(m, exchange.Answer{Status: 200}, "")
	}
	if err != nil {
		return "", "", nil, false, err
	}
	s, err := parseSystem(m)
	if err != nil {
		return "", "", nil, false, err
	}
	return s.issuer, s.scope, s.mandatory, s.check(mfpgate.PrintDevice{UUID: "99999999-0000-4000-8000-00000000000a"}) == nil, nil
}

// PrinterForTest reads an answer to Register-Output-Device.
func (s *Service) PrinterForTest(body []byte, id uint32) (mfpgate.Printer, error) {
	m, err := read(body, id)
	if err == nil {
		err = refusal(m, exchange.Answer{Status: 200}, "")
	}
	if err != nil {
		return mfpgate.Printer{}, err
	}
	return s.parsePrinter(m)
}

// TargetForTest is where a system's URI is posted to, and what it is called there.
func TargetForTest(text string, plain bool) (posted, uri string, err error) {
	at, uri, err := target(text, plain)
	if err != nil {
		return "", "", err
	}
	return at.String(), uri, nil
}

// PinForTest says whether an authorization server that the system names may be asked.
func (s *Service) PinForTest(issuer string) error { return s.pin(issuer) }
