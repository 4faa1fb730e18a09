// Package regiontest judges moves by what their participants wrote, and plays them.
//
// Check reads the audit chains of all writers of a move and says which rules they broke. It needs no common clock: each entry tells which
// entries of the others had been written before (mfpgate.MoveTrace.Seen), so that every order in which things can have happened is known,
// and the rules must hold at each moment of each of them. The chains may be those of a simulated world or of real processes.
//
// Play runs one such world: regions with the real saga and the real holdings, a gateway with the real broker of routes, a device whose
// connections it leads, and an administrator, on a network that delays, loses, doubles and reorders messages, with processes that are
// killed at their store's commits and clocks that differ. Besides what Check finds it looks at what chains do not tell of: the device's
// items (RuleData) and its connections (RuleRelay, RuleDirective). It is meant for testing/synctest, in whose time months pass at once.
//
// What Play breaks on purpose it breaks outside of the production code: a participant is wrapped in a port that does not do what it
// promises, is told what is not so, or stands on a store that forgets (mutant.go). So there is no switch that could be left on, and what
// is tested is what is shipped. The saga's order of steps alone cannot be reached from outside; its own export_test.go opens it to the
// tests beside it.
package regiontest
