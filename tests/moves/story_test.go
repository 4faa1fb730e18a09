package moves_test

import (
	"testing"

	"github.com/mfpgate/mfpgate"
)

// TestADeviceMovesWithItsServices plays claims 1 and 2: the source's service transfers on the order of the target's management
// server, a child that the target does not offer is unlinked first, and the device is redirected by the server that it knows.
func TestADeviceMovesWithItsServices(t *testing.T) {
	s := open(t, options{network: "127.43", start: 1})
	d := s.devices[mfp(1)]
	id := s.known(t, 1)
	m := s.until(t, s.move(t, id).ID, mfpgate.MoveDone)
	if m.From != "us" || m.To != "jp" || m.Receipt == nil {
		t.Errorf("the move says %+v", m)
	}
	if d.count("redirected") != 1 {
		t.Errorf("the device was redirected %d times", d.count("redirected"))
	}
}
