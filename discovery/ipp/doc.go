// Package ipp asks a printer over IPP (RFC 8010, RFC 8011) who it is, and reads its state, supplies and counters.
//
// What it promises. Identify, Read and Find send Get-Printer-Attributes and nothing else: no job, no change, no
// credentials, no secret. They ask for attributes by name, never for all, because some MFPs take many seconds to collect
// everything; an old printer that cannot pick gets the group printer-description instead. IPP 2.0 is spoken first, then 1.1,
// then 1.0, and what a printer needed is remembered for it, so that the next read is one exchange again.
//
// What it refuses. The answer is foreign: at most MaxAnswer bytes are read of it, with at most 32 KiB of header, within
// Options.Timeout; a message is decoded only if its values are few and its collections are shallow; every text is valid
// UTF-8 without control characters and at most 256 bytes. Redirects are not followed and no proxy is used: the bytes go to
// the endpoint's address and to nowhere else.
//
// Connections are closed after each exchange. A status read is one request every half minute or so, longer than most
// printers keep an idle connection; thousands of idle connections would cost the box descriptors and each printer one of
// its few.
//
// TLS (ipps) accepts every certificate, from TLS 1.0 on, with the cipher suites of old firmware except RC4. Printers make
// their certificates themselves, and no site has their fingerprints; nothing confidential is sent, and the answer is
// believed no more than the same answer in the clear: whoever holds the address can say what he likes in either. So this
// package's words identify a device on the site's network, and authenticate nobody.
//
// How it fails. Every error names the printer's URI and wraps either one of the sentinels below or the network's own error,
// so that errors.Is finds syscall.ECONNREFUSED, syscall.EHOSTUNREACH and context.DeadlineExceeded. ErrBusy is temporary.
package ipp
