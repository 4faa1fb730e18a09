// Package house holds the rules of the house as tests: which way imports point, who owns a third-party package, that every
// package says what it promises, and which calls have one place only. A rule that is broken names the line and the mend.
package house
