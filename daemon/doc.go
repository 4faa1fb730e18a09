// Package daemon is the composition root: it builds every room from one configuration, runs them, reloads, drains and
// stops them in order, and says how they are.
//
// It starts whole or not at all: a bad configuration, a second mfpgate on the same state, or a port that is taken ends New
// or Run before anything is served. A reload builds a new value and swaps it, or changes nothing and says why. The end is
// an ordered list with a budget: take nothing new, stop the jobs, drain the tunnels (relay.timeouts.drain), close the
// pages, write what waits, close the store; a second signal cuts the drain. What fails without being fatal (a disk that
// fills, a cloud that is away) is a degraded state: the relay goes on.
package daemon
