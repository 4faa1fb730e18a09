package server

import "time"

// One source may be wrong about an operator's password this often at once, and then once every interval. Passwords have 130 random
// bits, so it is not they that this protects, but the log and the disk.
const (
	wrongBurst = 5
	wrongEvery = 30 * time.Second
)
