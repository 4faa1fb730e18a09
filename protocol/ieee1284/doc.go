// Package ieee1284 reads IEEE 1284 device ids: the text "MFG:Acme;MDL:Copier 9;SN:A1;" by which a printer names itself on
// USB (GET_DEVICE_ID), in IPP (printer-device-id) and over SNMP (PWG 5107.1).
//
// It never fails: what cannot be read is left out, and an id of which nothing can be read is the zero ID. Its input is
// whatever a device sends, so lengths are bounded, texts come out as valid UTF-8 without control characters, and the
// malformations that devices are known for are put right: a length in either byte order or none, keys in any case and
// under either of their names, blanks and line ends around them, NULs behind the text, a missing last semicolon, Latin-1
// and UTF-16. A serial number that only fills the place ("000000", "N/A") is no serial number.
package ieee1284
