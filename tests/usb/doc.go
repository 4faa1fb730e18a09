// Package usb shows from outside what the gateway does with printers on USB: the gateway, the regions and the clients are processes, and
// the printers are those of package model on a bus of package mockbus, which libusb in the gateway's process takes for the machine's.
// It has no code but tests.
package usb
