package registration_test

import "testing"

// TestTheGatewayIsKilled kills the gateway at moments of which each needs something else to have been stored.
func TestTheGatewayIsKilled(t *testing.T) {
	s := newKillScene(t, 3)
	s.killedAt("code/taken", 0)
	s.killedAt("grant/taken", 1)
	s.killedAt("allow/taken", 1)
	s.killedAt("enter/answered", 2)
	s.killedAt("letter to ADMIN/taken", 2)
}
