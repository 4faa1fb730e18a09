//go:build cgo && !nousb

package libusb

/*
#cgo pkg-config: libusb-1.0
#cgo LDFLAGS: -ldl
#define _GNU_SOURCE
#include <dlfcn.h>
#include <libusb.h>

// libusb_set_interface_alt_setting stands before libusb's own, which gousb calls behind each claim. Up to libusb 1.0.26 that one unlocks
// a mutex that it has not locked if the device has left the bus, and libusb_close then ends the process: "usbi_mutex_destroy:
// Assertion failed". So it is not called where there is nothing to choose, and else only of a device that is there at this moment:
// libusb_claim_interface, of an interface that is claimed, does nothing but to look.
int libusb_set_interface_alt_setting(libusb_device_handle *h, int number, int alternate) {
	static int (*next)(libusb_device_handle *, int, int);
	const struct libusb_version *v = libusb_get_version();
	if (v->major == 1 && v->minor == 0 && v->micro <= 26) {
		struct libusb_config_descriptor *c;
		int i, only = 0;
		int r = libusb_claim_interface(h, number);
		if (r != 0)
			return r;
		if (alternate == 0 && libusb_get_active_config_descriptor(libusb_get_device(h), &c) == 0) {
			for (i = 0; i < c->bNumInterfaces; i++)
				if (c->interface[i].num_altsetting == 1 && c->interface[i].altsetting[0].bInterfaceNumber == number)
					only = 1;
			libusb_free_config_descriptor(c);
			if (only)
				return 0;
		}
	}
	if (next == NULL)
		next = (int (*)(libusb_device_handle *, int, int))dlsym(RTLD_NEXT, "libusb_set_interface_alt_setting");
	if (v->major == 1 && v->minor == 0 && v->micro <= 26) {
		int r = libusb_claim_interface(h, number);
		if (r != 0)
			return r;
	}
	return next == NULL ? LIBUSB_ERROR_NOT_SUPPORTED : next(h, number, alternate);
}
*/
import "C"
