// Package lan is a small office network of real programs for tests of the whole: hosts on one bridge, each with a kernel's
// own network stack, host name, avahi-daemon, IPP printers (ippeveprinter) and SNMP agent (snmpd). Host 0 is the gateway's.
//
// A host is a set of namespaces without a name, held by a thread of the test and by its process 1. So tests may run side by
// side, all with the same addresses, and nothing can be left behind: when the test ends, or dies, the kernel ends the
// process 1 of each host, with it whatever runs there, and takes back the namespaces.
//
// It needs root, which the first call declares, and the programs, which each call declares: without them the test skips by
// name. A program that ends by itself fails the test. Methods fail the test instead of returning errors, so they are for
// the test's own goroutine. Alone is another matter: it gives a whole test program the loopback for itself.
package lan
