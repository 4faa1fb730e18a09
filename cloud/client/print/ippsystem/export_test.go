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
