// Package bus is what the gateway needs of a USB host: which printers are plugged in, and bytes to and from their interfaces. It is
// the border between what the gateway knows of printers and libusb, which usb/libusb puts behind it; tests put a model there.
//
// A driver promises: every call returns soon after its context ends, or the device is gone, with one of the errors below; what was
// transferred until then is said. A Handle, a Claim and all that are theirs may be used by many goroutines, and be closed by one
// while others wait in them: those get ErrClosed, and Close returns when the last has. Closing twice is closing once.
// No call panics, whatever a device sends: descriptors are foreign bytes.
package bus
