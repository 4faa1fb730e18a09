// Package ipp reads and makes IPP messages (RFC 8010) for whoever speaks IPP: to printers on the network and on USB, and at the two ends
// of a print service.
//
// What it promises. Decode takes foreign bytes: it never panics, and its memory and its depth are bounded by Limits before anything is
// decoded. The readers of attributes return a value only if it has one of the syntaxes that its attribute may have (RFC 8011 §5.1), and
// texts fit to be shown: valid UTF-8 on one line, no control and no invisible formatting characters.
//
// What it refuses, as ErrMessage. A message whose major version is not 1 or 2, that breaks off, or whose groups or collections are not whole.
// Of a service, which is software of today, also one that goes on after its end; printers are forgiven that (Limits.Lenient).
package ipp
