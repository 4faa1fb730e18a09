// Package destination decides where a device may go through the relay, and makes the connection.
//
// Policy answers for names: what no rule allows is refused, and of several rules the most specific speaks. Dialer answers
// for addresses: it resolves a name once, judges every address of the answer, connects by address and never by name (so a
// second, different DNS answer cannot be used), and looks at the address a last time before the socket connects. An
// address is refused if it is not public by the IANA special-purpose registries, if an IPv4 address that it embeds is not,
// or if it is the machine's own. A rule with Private lifts that, except for unspecified, multicast and broadcast addresses;
// the relay's own listeners are refused under every rule.
//
// Dialer fails with *Refusal, whose Reason is one of this package's constants and is all that a client may learn; its Err
// is for the log. When the caller's context is cancelled it fails with the context's error instead. It never leaves a
// goroutine or a connection behind.
//
// What it does not know: addresses that a router outside translates to this machine. The relay's Via check covers them.
package destination
