// Package regions runs the clouds of two countries as processes, under names of their own, for tests and benches of moves between
// them. Each region's management server and services have listeners of their own, and each has a real certificate for its names,
// signed by itself. A small DNS server, also of this package, knows the names.
//
// It promises that a region that was killed can be started again on its state at its addresses. It uses a /16 of the loopback network
// that its caller has for itself.
package regions
