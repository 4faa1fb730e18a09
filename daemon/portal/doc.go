// Package portal is the pages that people see, over HTTPS: for administrators an overview of the gateway, the devices and the
// schedules, of moves between regions and where the devices' data are; for users, who ask for printers in a print service, how that stands.
//
// It promises that nothing is shown and nothing is changed without a login, that a user sees and changes nothing but requests
// for his own mail address, that GET changes nothing, that a page of another origin can change nothing, and that every name
// from outside is shown as text. A route is for administrators unless its entry says otherwise. The account is looked up with
// each request: another role, a new password and a removed account count at once. It asks the same Go interface as
// package control, whose API it also serves, under /api/v1, to administrators. Every page works without
// JavaScript; with it, overview and registrations follow the gateway and the devices the search. The overview is sent every few
// seconds, so it lists few devices; the whole fleet is on the page that can search. A form answers with a redirect and says
// what came of it on the page that follows, once; what the gateway refuses is said in its own words, what breaks is logged.
// Registrations are followed by server-sent events that say only that something changed; a stream is bounded in number, in the
// time of each write, and by its session, whose idle time it lets run on. A login leads back to the page that was wanted, if
// that is one of ours; a QR code is printed only for the configured address, or for a name that the certificate has.
// A move between regions is started only as the plan that was shown says, with its hash. Which device's data are where is shown as the
// regions told it and never better than that: what is not known is said to be so, and nothing is called enforced that is not.
//
// It refuses more logins than their pace, from one source and for one name, and answers a wrong name and a wrong
// password alike, in word and in time. Sessions live in memory: a restart of the daemon logs everybody out, which costs
// one login and keeps session tokens off the disk. A session ends IdleTimeout after the last thing its user did (the
// page's own refresh is not such a thing) and Lifetime after the login.
//
// Where no certificate is configured it makes one, signed by its own key: a browser asks the user to trust it once, and
// the log names its fingerprint to compare. It is no authority, so trusting it trusts this host alone. A certificate that
// cannot be renewed or reloaded leaves the one before it in use, and says so.
package portal
