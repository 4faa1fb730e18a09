// Package moves plays moves of devices between regions as they happen: two countries' clouds, a gateway and simulated devices, each a
// process of its own, under real names and certificates.
//
// In the tests of kills_*_test.go fronts stand between all of them. They hold messages back, repeat them, lose them or their answers, and
// kill processes at chosen messages. In the end each move is done or taken back, its device works on in one region with all that it was
// told is kept, and package regiontest finds nothing in what all have written. Clocks that differ are played there, not here: all processes
// of a machine have its clock.
package moves
