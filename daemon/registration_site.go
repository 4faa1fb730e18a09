package daemon

import (
	"cmp"
	"crypto/sha256"
	"net/netip"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/discovery"
)

// candidate is a device as print services and administrators are told of it, with what the configuration says of it.
func candidate(cfg *config.Config, found discovery.Detail) mfpgate.PrintCandidate {
	d := found.Device
	address, _ := netip.ParseAddr(d.Address) // of a device on USB it is none
	names := []string{d.Name}
	for _, s := range found.Sightings { // an administrator may have renamed what the configuration names
		if name, ok := strings.CutPrefix(string(s.ID), string(mfpgate.SourceStatic)+":"); ok {
			names = append(names, name)
		}
	}
	return mfpgate.PrintCandidate{
		PrintDevice: mfpgate.PrintDevice{ID: d.ID, Name: cmp.Or(d.Name, strings.TrimSpace(d.Make+" "+d.Model), d.Address, string(d.ID)), Make: d.Make, Model: d.Model,
			Serial: d.Serial, UUID: deviceUUID(found.Identity.UUID, d.ID), Location: d.Location, Address: d.Address},
		Market: d.Market, Mode: cfg.Devices.RegistrationOf(address, names...), Admin: cfg.Registration.AdminOf(address, names...),
	}
}

// deviceUUID is the device's own, or one made from its id, which stays the same as long as that does.
func deviceUUID(own string, id mfpgate.DeviceID) string {
	if own = mfpgate.CleanUUID(own); own != "" {
		return own
	}
	sum := sha256.Sum256([]byte("mfpgate device " + string(id)))
	return mfpgate.MakeUUID(8, [16]byte(sum[:]))
}
