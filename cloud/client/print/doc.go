// Package print is the gateway's side of the print services in which it registers devices.
//
// Open gives what broker/approval asks of any of them; each kind speaks its own wire underneath:
//
//   - reference: the print service of our own reference region. RFC 8414 discovery, RFC 8628 with PKCE, then a REST call that
//     enters the device with a certificate request (ECDSA P-256) and names who may print.
//   - universal-print: what is public of Microsoft's Universal Print, for a device that registers itself: device code at the
//     authorization server, then the register service with a certificate request (RSA-2048).
//   - ipp-system: an IPP System Service (PWG 5100.22, 5100.18), which certifies nothing.
//
// Every call is one exchange with the bounds of package exchange (discovery, where it is due, comes before it), ends with its
// context or its timeout, and neither waits nor tries again. A token goes only to the host that is configured or that its answer
// named on the same origin. Errors that will come again wrap mfpgate.ErrRefused; one that names when to come back has a method
// Delay; a token that is no longer good wraps mfpgate.ErrInvalidGrant, and a printer or an operation that the service does not have
// (any more) mfpgate.ErrNoPrinter.
//
// # What is not public of Universal Print
//
// The endpoints of Entra's device code, their words for errors, and the register service's names (registration_id, interval,
// certificate_request, cloud_device_id, certificate) are public, in Microsoft's pages and in samples on GitHub. These are not, or
// differ between what can be seen, and none of it has been tried against the real service:
//
//   - the form of transport_key: RSAPublicKey of PKCS #1 in DER is sent, as a public script for the connector does; Entra's own device
//     join has another form;
//   - the form of certificate: PEM and base64 of DER are both read;
//   - the scope: https://print.print.microsoft.com/.default, as that script asks; it must have been consented to for the client id;
//   - the address of the printer, ipps://print.print.microsoft.com/printers/{cloud_device_id}, and the hosts of national clouds;
//   - whether a device_id that is registered already gets its entry again or a second one;
//   - the bodies of errors: title and detail are looked for as well as Microsoft's error.code and error.message;
//   - how a printer gets its own tokens (device_token_url and the rest of the answer): they are not kept, for no job is fetched yet.
//
// Who may print is decided in Universal Print by sharing the printer, which its administrator does; a registration cannot.
package print
