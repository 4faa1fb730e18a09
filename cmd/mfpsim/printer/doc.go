// Package printer answers for simulated MFPs as printers on a network do: IPP (RFC 8011, PWG 5100.13), SNMP v1 and v2c
// (RFC 3805, RFC 2790, PWG 5107.1), and DNS-SD (RFC 6762, 6763). A Site is many printers in one process, each on an
// address of its own.
//
// It promises that what a printer says over the three protocols is the same fact (one serial number, one toner level, one
// counter), that thousands fit one process, because they share a few sockets (the address that was asked says which
// printer answers, and the answer leaves from it) and everything they say is made when it is asked for, and that no
// request, however malformed, ends the process.
//
// It refuses what a printer that only reports would refuse: it prints nothing for others (Print-Job is not among its
// operations), SET changes nothing, and another community than its own gets silence. It does not probe for its DNS-SD
// names (RFC 6762 §8.1) nor defend them, has no NSEC records and does not hold back a record that it sent a second ago:
// names are the caller's to keep apart.
//
// New fails where a socket cannot be opened. From then on only Run ends it.
package printer
