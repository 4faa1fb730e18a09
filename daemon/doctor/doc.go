// Package doctor looks at a machine for what would keep the gateway from its work, and says what mends it: one function for each
// check, in the list of checks.
//
// It promises to change nothing. What a running daemon has is asked of the daemon, over its control socket: a printer on USB is claimed by
// one program at a time, so it is not claimed here at all; who has it is read from sysfs. Every finding that failed names its fix.
//
// Rights are judged for the user that the service runs as, where that can be: root may do everything, and would find nothing.
//
// It fails by a finding: a check that cannot look says so and why, and counts as failed unless what it looks at is switched off.
package doctor
