// Package rig runs the real mfpgate for tests from outside: the binary, built with the race detector, as the user nobody
// where the tests run as root, with its configuration and state in a folder of the test's own.
//
// Whoever gets a Gateway need not stop it: at the end of the test it is told to stop and must exit with 0. A race, a panic
// or a line on standard error fails the test. Waits are for states, with a deadline that only a hang meets.
package rig
