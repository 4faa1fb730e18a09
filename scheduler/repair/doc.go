// Package repair gives deliveries new starts, so that never more devices are served at once than there is room for.
//
// Its aims are lexicographic: the fewest jobs left unresolved (of these the lowest priorities), then the fewest moved, then the
// smallest displacement, then moves that are spread. An answer never breaks a job's bounds or the capacity: what finds no place
// remains unresolved, and every answer carries bounds that say how far from the best it can be.
//
// It is a pure function: no clock, no goroutine that decides, no map order. The same problem gives the same answer.
package repair
