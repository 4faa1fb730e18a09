// Package approvaltest has a print service and a mailer that tests of registrations script. The service keeps the rules of
// RFC 8628 unless told otherwise: codes expire by its clock, a poll that is too early gets slow_down, a granted code is redeemed
// once. It certifies keys, enters a device once however often it is asked, and counts what it is asked for. Both live in memory
// and are safe for concurrent use; neither speaks over a network.
package approvaltest
