// Package deviceauth asks an authorization server for a device code and whether it was approved (RFC 8628), as RFC 8414 says where.
//
// Each method makes one exchange, with a second one where discovery has two places to look: it neither waits nor tries again, for
// who polls must remember when across a restart. Answers are bounded and hostile, as package exchange says. It stands what is in
// the field: an interval that is missing or written as text, words of Entra's for the same refusals, errors under any status.
//
// An error that will come again wraps mfpgate.ErrRefused. An answer that is none of the protocol, say the page of something on the
// way, says nothing of the code and wraps exchange.ErrAnswer or nothing. Secrets go into bodies and headers only, never into a
// URL, and no error holds one.
package deviceauth
