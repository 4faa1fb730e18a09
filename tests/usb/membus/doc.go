// Package membus is a bus.Bus over printers of tests/usb/model, in the process and without libusb, for the fast tests of what stands on
// usb/bus.
//
// It promises what package bus promises, and is stricter than hardware where hardware would be kind by luck: a Read whose length is no
// multiple of the endpoint's MaxPacket overflows always, a Read longer than bus.MaxTransfer gets bus.ErrNoMemory, and a handle is of no
// use once its device was reset (bus.ErrGone), even though the device came back under another address.
package membus
