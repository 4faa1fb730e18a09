// Package mfp behaves as a multi-function printer does towards its cloud, through a relay: it keeps a push channel open,
// asks for work, downloads a package, checks it, runs the new version from then on and reports.
//
// It promises that it never installs bytes whose size or SHA-256 differ from the cloud's word, that an interrupted download
// goes on where it stopped if the package is the same (Range with If-Range), also after a restart when it has a state
// file, that a report is sent until the cloud has taken it, and that it waits with full jitter after every failure and at
// least as long as Retry-After says.
//
// Nothing runs the package, so its bytes are not kept: what is kept of a part is its length and the state of its SHA-256.
package mfp
