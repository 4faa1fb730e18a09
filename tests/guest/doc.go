// Package guest prints on USB printers of a real kernel, under the installed service, in a virtual machine: `make vm`.
//
// What the rigs in tests/usb leave out is real here: the kernel's USB core, usbfs and its limit of memory, usblp, udevd with the
// project's rule, and systemd with a hardened unit whose user has no right but its group's. The printers are those of tests/usb/model,
// plugged into the guest's vhci_hcd by usbipprinter. What is not real is the host controller, and speed: the guest's processor is
// emulated (TCG), for a machine that builds seldom has KVM to give.
//
// The guest is a Debian 12 root, made once (image.sh, needs root) and kept in .cache/guest; it is booted once, and its state is kept
// beside it. Each run begins with that state and leaves the disk as it was. Both are made anew when what they are made of changes.
// What a run leaves for the reader is in .cache/guest/job: out, journal and console.
//
// The binaries are this machine's own, and run in the guest against its C library and libusb: this machine's may not be newer than
// Debian 12's.
//
// The test binary plays the parts: the test, which starts the guest; the checks, which run in it as root; the user's program that
// prints at a printer's address; and a service of bytes, which runs under a copy of the unit and prints on a printer without IPP, as a
// delivery does.
package guest
