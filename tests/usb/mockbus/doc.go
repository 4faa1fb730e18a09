// Package mockbus plays a USB bus to libusb through umockdev's preload library: gousb, lsusb and all else that asks libusb see printers
// of tests/usb/model, without a kernel and without root.
//
// It lays out what libumockdev-preload.so.0 expects below $UMOCKDEV_DIR (sys/, dev/, dev/.node/, event* sockets) and answers the
// usbdevfs ioctls that the library forwards over $UMOCKDEV_DIR/ioctl/<device node>, in Go alone. A test has itself run under the library
// (Reexec in TestMain), makes a bus, and puts its Dir into UMOCKDEV_DIR; or another process is started so.
//
// A device node is a FIFO with a one-slot pipe: full means that there is no URB to reap (no POLLOUT), empty that one is done (POLLOUT),
// which is what usbfs tells libusb. With a regular file, as umockdev's own, the node is always ready and libusb spins.
//
// It promises to answer as usbfs does: halts stay until CLEAR_HALT, a claim under a kernel driver or another program is EBUSY, a reset
// ends all URBs and claims and gives interfaces back to their kernel drivers, at most 16 MiB are in flight, and all of it is ENODEV once
// the device was unplugged. It is stricter in one thing: a transfer to an interface that is not claimed is ENOENT.
//
// It does not reach Go's own os.Open of /sys or /dev, which are no calls of libc; nor static programs. UMOCKDEV_DIR must be short, as
// sockets are below it: New makes one that is. The library ends a program whose bus goes first: close all of libusb before Bus.Close. It
// has room for 50 open devices and monitors in a process.
package mockbus
