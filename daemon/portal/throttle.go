package portal

import "time"

// The pace of logins. One source may be wrong five times at once and then twice a minute. One name may be tried from many
// sources, so it gets more: enough that a stranger does not lock its owner out by the way, too few to guess a password.
const (
	sourceBurst = 5
	sourceEvery = 30 * time.Second
	nameBurst   = 20
	nameEvery   = 6 * time.Second
)
