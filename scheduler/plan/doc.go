// Package plan turns a snapshot of a gateway's schedule into its overloads and the new starts that remove them.
//
// It is a pure function of the snapshot: the same one gives the same answer, on any machine. See Make.
package plan
