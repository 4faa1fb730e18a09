// Package ipp reads and makes the IPP messages (RFC 8010) of a print service's two ends, the gateway's client and the reference
// service.
//
// What it promises. Decode takes foreign bytes: it never panics, and its memory and its depth are bounded by MaxValues and MaxDepth
// before anything is decoded. The readers of attributes return a value only if it has one of the syntaxes that its attribute may
// have (RFC 8011 §5.1), and texts fit to be shown: valid UTF-8 on one line, no control and no invisible formatting characters.
//
// What it refuses. No workaround for printers' firmware is here: a service is software of today. A message whose major version is
// not 1 or 2, whose groups or collections do not end, or that goes on after its end is an error, ErrMessage.
package ipp
