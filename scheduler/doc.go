// Package scheduler keeps a gateway's delivery schedules within what its relay can carry: it fetches what is planned, finds the
// overloads, reports them, and repairs them as far as its mode allows.
package scheduler
