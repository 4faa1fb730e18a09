// Package provision is what a region's operator puts in by hand: gateways and their contracts, operators' and administrators' accounts, packages, the factory
// key of the devices, the server's certificate, the print service's key and certificate authority, the region's keys, its peers and its
// roll-out. Each is a file below one folder, so that a sub-command changes it while the
// server runs or before it does, and the server sees it at its next request.
//
// It promises that a file is whole or not there (written aside, synced, renamed, folder synced), that what a call
// returned without error is still there after kill -9 and power loss, and that a secret is stored only as a hash, except
// the keys, which the server needs (mode 0600). It refuses ids that could leave the
// folder, and a second package with the same model and version but other bytes. Writers take a lock; readers never do.
package provision
