// Package ippserver gives tests Debian's ippserver, the PWG's sample of an IPP system service (PWG 5100.22) with an infrastructure
// printer (PWG 5100.18).
//
// Its package is downloaded with apt-get and unpacked into .cache/peers of the source tree, never installed: it conflicts with
// the one that has ipptool. Debian 12 lacks a library that it needs; libcups3/ stands in for it and is built with gcc. Where one of
// them cannot be had, the test skips by name, as package need says it.
package ippserver
