package ippsystem_test

import (
	"errors"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/print/ippsystem"
)

// TestASystemElsewhereNamesNoServerHere has a system lead the gateway to what listens on its own machine.
func TestASystemElsewhereNamesNoServerHere(t *testing.T) {
	for _, c := range []struct {
		system, authority, issuer string
		refused                   bool
	}{
		{"ipps://print.example/ipp/system", "", "https://login.example", false},
		{"ipps://print.example/ipp/system", "", "http://127.0.0.1:9090", true},
		{"ipps://print.example/ipp/system", "", "http://localhost:9090/x", true},
		{"ipps://print.example/ipp/system", "", "https://[::1]", true},
		{"ipps://print.example/ipp/system", "https://localhost:8443", "https://localhost:8443", false},
		{"ipps://localhost/ipp/system", "", "https://localhost:8443", false},
	} {
		s := open(t, ippsystem.Options{URL: c.system, Authority: c.authority})
		if err := s.PinForTest(c.issuer); errors.Is(err, mfpgate.ErrRefused) != c.refused || (err != nil) != c.refused {
			t.Errorf("%s names %s: %v, want refused %v", c.system, c.issuer, err, c.refused)
		}
	}
}
