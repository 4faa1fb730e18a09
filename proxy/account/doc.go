// Package account knows the names and passwords by which devices identify themselves to the relay.
//
// Accounts come from an htpasswd file with bcrypt hashes and nothing weaker; a bad file is refused whole, with every
// mistake named by its line. A password is checked in a time that does not tell whether the account exists. What was
// checked once is remembered under a keyed hash, so that bcrypt does not run per connection; how much of it runs at once
// is bounded, and Limiter slows down a source that guesses.
//
// A File never changes: to reload, Load again and replace it. Nothing here logs, and no error holds a password or a hash.
package account
