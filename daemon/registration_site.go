package daemon

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"regexp"
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

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

const (
	nilUUID = "00000000-0000-0000-0000-000000000000" // RFC 9562 §5.9
	maxUUID = "ffffffff-ffff-ffff-ffff-ffffffffffff" // §5.10
)

// deviceUUID is the device's own, or one made from its id, which stays the same as long as that does: version 8 of RFC 9562, of a
// SHA-256 (appendix B.2).
func deviceUUID(own string, id mfpgate.DeviceID) string {
	if own = strings.ToLower(own); uuidForm.MatchString(own) && own != nilUUID && own != maxUUID {
		return own
	}
	sum := sha256.Sum256([]byte("mfpgate device " + string(id)))
	u := sum[:16]
	u[6] = u[6]&0x0f | 0x80 // version
	u[8] = u[8]&0x3f | 0x80 // variant
	text := hex.EncodeToString(u)
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}
