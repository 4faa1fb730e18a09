// Package crash holds the tests that kill, cut, flip and fill: what the store acknowledged must be there afterwards, whole,
// and no state of its files may keep it from starting. It has no code but tests.
//
// A kill leaves the page cache to the kernel, so it is no loss of power; the states that a loss of power leaves in files are
// made by hand instead (files_test.go).
package crash
