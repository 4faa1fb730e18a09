// Package devices shows what the gateway knows of a site's devices, from outside: the real binary on a host of package lan,
// real printers and agents on the others, and the API on the control socket. It has no code but tests.
package devices
