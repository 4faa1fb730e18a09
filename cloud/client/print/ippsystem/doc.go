// Package ippsystem enters a device in an IPP System Service (PWG 5100.22), the one print service that a standard describes: it is
// asked what it is (Get-System-Attributes), its authorization server for a code (RFC 8414, RFC 8628, by package deviceauth), and
// then registers the device (Register-Output-Device) as an infrastructure printer (PWG 5100.18).
//
// What it promises. A system that names no authorization server asks nobody: RequestCode returns mfpgate.ErrNobodyAsked, and only
// if the answer says so beyond doubt. Nobody is asked for an approval that would be in vain: a system that does not register
// devices, or wants an attribute or a login that a gateway does not have, is refused before the code. The device is named by its
// UUID alone, so the standard's system answers a second registration with the same printer.
//
// What it refuses. An answer is foreign: at most MaxAnswer bytes are read, decoded within the bounds of package protocol/ipp. The
// connection is TLS, or plain to a loopback address; Options.Plain opens the rest, but never for a token. The authorization server
// is https too, and the one of Options.Authority if that is set. The printer's URI must be on the host of the system or one of
// Options.PrinterHosts, and over TLS if the system is.
//
// How it fails. mfpgate.ErrRefused is wrapped by what will come again, mfpgate.ErrInvalidGrant by a token that is no longer good; a
// busy system's error has a method Delay where it says when to come back; anything else is worth another try.
package ippsystem
