// Package portal is the pages that an administrator sees: a login, one overview of the gateway, and the devices, over HTTPS.
//
// It promises that nothing is shown and nothing is changed without a login, that GET changes nothing, that a page of
// another origin can change nothing, and that every name from outside is shown as text. It asks the same Go interface as
// package control, whose API it also serves, under /api/v1, to those who have logged in. Every page works without
// JavaScript; with it, the overview follows the gateway and the devices follow the search. The overview is sent every few
// seconds, so it lists few devices; the whole fleet is on the page that can search. A form answers with a redirect and says
// what came of it on the page that follows, once; what the gateway refuses is said in its own words, what breaks is logged.
//
// It refuses more logins than Throttle's pace, from one source and for one name, and answers a wrong name and a wrong
// password alike, in word and in time. Sessions live in memory: a restart of the daemon logs everybody out, which costs
// one login and keeps session tokens off the disk. A session ends IdleTimeout after the last thing its user did (the
// page's own refresh is not such a thing) and Lifetime after the login.
//
// Where no certificate is configured it makes one, signed by its own key: a browser asks the user to trust it once, and
// the log names its fingerprint to compare. It is no authority, so trusting it trusts this host alone. A certificate that
// cannot be renewed or reloaded leaves the one before it in use, and says so.
package portal
