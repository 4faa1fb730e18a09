package config

// USBShare says who may use the printers on the gateway's USB over the network, where they speak IPP.
type USBShare string

// The shares.
const (
	USBShareOff   USBShare = "off"   // the gateway alone
	USBShareLocal USBShare = "local" // programs on this machine, too
	USBShareLAN   USBShare = "lan"   // relay.clients, which find them by DNS-SD
)

// USB is the printers on the gateway's own USB.
type USB struct {
	Enabled bool
	Share   USBShare
	Quirks  string // a file of the site's own, "" for none; Load has found it readable, its words are the usb room's to judge
}

func usb(u *USB) object {
	return object{
		may("enabled", "whether the gateway drives the printers on its USB", one(&u.Enabled, boolean()).or("false")),
		may("share", "who may print on those that speak IPP over USB: off, the gateway alone; local, programs of this machine; lan, relay.clients too, which find them by DNS-SD",
			one(&u.Share, enum(USBShareOff, USBShareLocal, USBShareLAN)).or("off")),
		may("quirks", "file of what single models need, beside the table that comes with the program", one(&u.Quirks, path())),
	}
}

// maxQuirks bounds the file of quirks, in bytes.
const maxQuirks = 1 << 20

func (r *reader) checkUSB(u USB) {
	if u.Enabled && r.good("usb.enabled") && r.look.NoUSB != nil {
		r.fail("usb.enabled", "%s", r.look.NoUSB)
	}
	if u.Quirks != "" && r.good("usb.quirks") {
		if _, err := r.look.read(u.Quirks, maxQuirks, false); err != nil {
			r.fail("usb.quirks", "%s", err)
		}
	}
}
