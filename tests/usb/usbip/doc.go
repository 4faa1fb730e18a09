// Package usbip gives printers of tests/usb/model to a real kernel by USB/IP (Linux, drivers/usb/usbip; protocol 1.1.1): its vhci_hcd
// enumerates them as if they were plugged in.
//
// Attach needs root and the module vhci_hcd, Listen neither: it serves `usbip attach` on any machine. A connection's end unplugs the
// device; then every goroutine of it ends. What a peer sends that is no USB/IP ends its connection.
//
// The kernel does not tell a USB/IP device of a reset: it chooses the configuration anew, and that is taken for one.
package usbip
