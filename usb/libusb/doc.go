// Package libusb drives printers with libusb, by gousb: it is usb/bus's driver for the machine's own USB, and the only folder that is
// built with cgo. Without a C compiler, or with the build tag nousb, Open says ErrNotBuilt and everything else builds as it is.
//
// It keeps usb/bus's promises where gousb does not:
//
//   - An endpoint that is used while it is being closed ends the process with SIGSEGV. Here a claim, a handle and the bus each have a
//     gate: closing refuses what comes, cancels what is inside and waits for it, and then releases interface, configuration, device and
//     context in that order. gousb refuses any other, and what it refuses leaks with its udev monitor.
//   - A control transfer, a claim and a reset cannot be cancelled. The caller is let go when its context ends; the transfer ends by
//     itself within controlTimeout, nobody else gets the endpoint before, and Close waits for it.
//   - Detaching kernel drivers, gousb detaches those of all interfaces and gives back those that it claims: the card reader of a
//     printer would be gone for good. Here only the claimed interface is taken, and its driver gets it back.
//   - gousb looks an interface up by its number as if numbers had no gaps, and panics where they have; it panics too on a device whose
//     descriptors come back to an interface later and repeat a setting of it. Gaps are filled. The other cannot be passed over, because
//     gousb reads all devices before any: Printers and Open say so until that device is unplugged, and everything open goes on.
//   - gousb tells nobody which of libusb's errors kept an interface from being claimed, but for its text: the text's end is compared.
//   - gousb cannot clear a halt. Setting the alternate setting anew would clear it, and would end a transfer that runs on the other
//     endpoint with what it has moved unknown: a stalled back channel would cost the page. So libusb_clear_halt is called here, for
//     one endpoint, on the device that gousb has open (halt.go).
//
// A transfer for which the kernel has no memory is tried with half of it, down to a packet, and then again for memoryPatience, before
// it is ErrNoMemory. One transfer is in flight on an endpoint: of 256 KiB, it keeps a high-speed bus busy, and what the device took
// stays known when it fails.
//
// It reads no file and no variable of the environment itself: which devices there are, libusb learns from udev, which a hardened
// service must let it (AF_NETLINK).
package libusb
