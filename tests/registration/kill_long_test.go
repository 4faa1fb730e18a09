//go:build long

package registration_test

import "testing"

// TestTheGatewayIsKilledAroundEachCall kills it when each call arrives, which the service never sees, when the service has done it, and when
// the gateway has the answer; after each letter; and at any time.
func TestTheGatewayIsKilledAroundEachCall(t *testing.T) {
	phases := []string{"arriving", "taken", "answered"}
	var steps []string
	for _, call := range []string{"code", "poll", "grant", "enter", "operation", "allow"} {
		for _, phase := range phases {
			steps = append(steps, call+"/"+phase)
		}
	}
	steps = append(steps, "letter to ADMIN/taken", "letter to USER/taken")
	for range 12 {
		steps = append(steps, "any")
	}
	s := newKillScene(t, len(steps))
	for n, at := range steps {
		if len(at) > 5 && at[:5] == "allow" {
			n = 0 // is registered
		}
		s.killedAt(at, n)
	}
}
