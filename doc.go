// Package mfpgate holds the words that every room of the gateway shares: devices, reasons, secrets, ids and the clock.
//
// A type lives here when a second room needs it, so that rooms declare their ports in these types and never import each
// other. The package imports nothing else of this module.
package mfpgate
