// Package ippsystem is the print service's side of the IPP System Service (PWG 5100.22) as far as a gateway needs it to enter a
// printer: Get-System-Attributes, Register-Output-Device and Deregister-Output-Device, over HTTP POST (RFC 8010).
//
// What it promises. Whoever asks is told what the system is, which authorization server (RFC 8414) gives the tokens that it takes
// and which attributes a registration must have. Registering the same output device again answers the same printer. Each answer
// has the request's version and id, and names the attributes that were not understood.
//
// What it refuses. The system has an authorization server: without a bearer token nothing but Get-System-Attributes is done, and
// the answer is HTTP 401 with the IPP status client-error-not-authenticated in its body (RFC 6750 §3). A request is foreign: at
// most MaxRequest bytes, few values, flat; its operation attributes must begin with charset and language, and the charset is
// utf-8. Nobody is told which printers there are.
//
// How it fails. What the Service refuses becomes the IPP status of its sentinel; any other error is server-error-internal-error,
// and its text stays here. The HTTP status of every answer that is an IPP message is 200 or 401.
package ippsystem
