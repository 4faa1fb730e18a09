// Package exchange makes one HTTP exchange with a print service or its authorization server, and trusts nothing of the answer.
//
// It promises that an exchange ends with its context or its client's timeout, that no more than MaxAnswer bytes of an answer are
// read, that no redirect is followed, so that a secret goes to one host only, and that no error holds a secret that was sent. An
// answer is one JSON object whose names are each given once and matched exactly; what else a service sends is ErrAnswer, which
// says nothing but that this exchange failed. It neither waits nor tries again.
package exchange
