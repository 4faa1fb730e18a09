// Package delivery has the delivery system's rules: when a delivery starts, which starts its window and the contract forbid, and what
// a change of the schedule overloads. It keeps nothing and calls nobody: the server gives it what it has read in one instant.
//
// It promises that a start is what its local time in its zone says, also where the clock changes, and that an overload that was there
// before a change is not held against the change. It refuses times without a zone, starts that a clock skips where the rule is to skip
// them, and dates far from any plan.
package delivery
