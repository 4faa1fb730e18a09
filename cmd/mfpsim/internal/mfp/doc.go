// Package mfp behaves as a multi-function printer does towards its cloud, through a relay: it keeps a push channel open,
// asks for work, downloads a package, checks it, runs the new version from then on and reports.
//
// It promises that it never installs bytes whose size or SHA-256 differ from the cloud's word, that an interrupted download
// goes on where it stopped if the package is the same (Range with If-Range), also after a restart when it has a state
// file, that a report is sent until the cloud has taken it, and that it waits with full jitter after every failure and at
// least as long as Retry-After says.
//
// It can live in a region (Residing): then it registers once, checks in at the services too, and moves when a directive says so. It
// promises that it goes by no directive that is not signed by a region that the factory named, is for another device or of an epoch
// that is not higher than its own, and by none before its time; that a directive is in its state file before anybody hears that it
// goes by it, and is acknowledged until the server that gave it has heard; and that nothing of an old home is used in a new one, no
// connection either. A region that knows nothing of this is no trouble: it goes on as without.
//
// Nothing runs the package, so its bytes are not kept: what is kept of a part is its length and the state of its SHA-256.
package mfp
