// Package universaltest plays what is public of Microsoft's Universal Print to tests: Entra's device code endpoints below
// /organizations and the register service below /api/v1.0, over TLS on a loopback address.
//
// It is stricter than a service needs to be. A request has exactly the known names; a certificate request is verified with its
// signature, must be of RSA-2048 and SHA-256, and its key must be the transport key; a device code is redeemed once, a token serves
// for the scope and the registrations it was asked for. What is not public is guessed as package print says: a device_id that is
// registered gets its entry again, with a new certificate.
package universaltest
