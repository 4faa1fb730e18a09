// Package reports holds the tests of what the cloud is told, with the real gateway, simulated printers that answer IPP, and a
// region in the test's process: each report arrives once whatever kills the gateway, and the cloud's list of devices is the
// gateway's. It has no code but tests.
package reports
