// Command mfpsim is a simulated MFP, or a fleet of them: it calls its cloud through a relay as a real device does, and
// says on standard output what happens to it, one sentence per event, or one JSON object with --json.
//
// A device's identity is its source address (--bind) and its factory token. It exits with 0 at SIGTERM or SIGINT, 1 when
// it cannot start, 2 for a wrong command line. What the relay or the cloud does never ends it: it waits and tries again.
package main
