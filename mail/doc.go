// Package mail hands letters to an SMTP server (RFC 5321).
//
// It promises that a letter that is sent again has the same Message-ID, date and text, that what the server has taken is no error
// whatever becomes of the connection then, and that a password goes over TLS or loopback only. One Send is one connection; nothing
// is kept or tried again here.
//
// It refuses, with an error that wraps mfpgate.ErrRefused, what will be refused again: an address that is not exactly one address,
// a header with a line break, a letter that the server answers with 5xx (RFC 5321 §4.2.1). Every other error is worth another
// try: no connection, TLS that cannot be verified, a login that fails, 4xx.
package mail
