// Package discovery knows the devices of the site: those that the configuration names and those that came to the relay by
// themselves.
//
// A device keeps its id for as long as its record is kept, across restarts and reloads: the id belongs to the account or
// to the address by which the device was met first. Look-ups come from every connection of the relay, so they are served
// from memory; the store follows behind, and a crash can lose what was learnt in the last moments about a stranger,
// never what the configuration says. Strangers are bounded: beyond MaxStrangers the relay still serves them by address,
// and nothing is recorded.
package discovery
