package discovery

import (
	"maps"
	"slices"
	"strings"

	"github.com/mfpgate/mfpgate"
)

// key is one proof of identity: its kind, a colon, and what the device says, folded.
type key string

// keysOf returns the proofs in an identity, the strongest first.
func keysOf(i mfpgate.Identity) (keys []key) {
	serial := fold(mfpgate.CleanSerial(i.Serial))
	if uuid := mfpgate.CleanUUID(i.UUID); uuid != "" {
		keys = append(keys, key("uuid:"+uuid))
	}
	if i.Make != "" && i.Model != "" && serial != "" {
		keys = append(keys, key("1284:"+fold(i.Make)+"|"+model(i)+"|"+serial))
	}
	if i.SysObjectID != "" && serial != "" {
		keys = append(keys, key("snmp:"+i.SysObjectID+"|"+serial))
	}
	if mac := fold(i.MAC); strings.Trim(mac, "0:") != "" && strings.Trim(mac, "f:") != "" {
		keys = append(keys, key("mac:"+mac))
	}
	if parts := strings.SplitN(i.USB, ":", 3); len(parts) == 3 && mfpgate.CleanSerial(parts[2]) != "" { // vendor:product: is the model alone
		keys = append(keys, key("usb:"+fold(i.USB)))
	}
	return keys
}

// model is without the make, which some sources put before it and others do not.
func model(i mfpgate.Identity) string {
	return strings.TrimSpace(strings.TrimPrefix(fold(i.Model), fold(i.Make)))
}

// fold makes two spellings of one word equal.
func fold(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

// words are all that the sources of one device say of who it is.
type words struct {
	keys    map[key]struct{}
	serials map[string]struct{}
}

func (w *words) add(i mfpgate.Identity) {
	if w.keys == nil {
		w.keys, w.serials = map[key]struct{}{}, map[string]struct{}{}
	}
	for _, k := range keysOf(i) {
		w.keys[k] = struct{}{}
	}
	if s := fold(mfpgate.CleanSerial(i.Serial)); s != "" {
		w.serials[s] = struct{}{}
	}
}

// join adds what another says.
func (w *words) join(o *words) {
	maps.Copy(w.keys, o.keys)
	maps.Copy(w.serials, o.serials)
}

// differ reports whether two are certainly not one: they share no proof but a MAC, and both have a UUID or both a serial number.
// A serial number with its make and model outweighs a UUID: some devices take a new UUID with a new name, and some have one for
// each queue. Models alone are spelled too differently to tell, and a device may have several MACs.
func (w *words) differ(o *words) bool {
	for k := range w.keys {
		if _, both := o.keys[k]; both && !strings.HasPrefix(string(k), "mac:") {
			return false
		}
	}
	if len(w.uuids()) > 0 && len(o.uuids()) > 0 {
		return true
	}
	return len(w.serials) > 0 && len(o.serials) > 0 && !shared(w.serials, o.serials)
}

func (w *words) uuids() map[key]struct{} {
	found := map[key]struct{}{}
	for k := range w.keys {
		if strings.HasPrefix(string(k), "uuid:") {
			found[k] = struct{}{}
		}
	}
	return found
}

func shared[K comparable](a, b map[K]struct{}) bool {
	for k := range a {
		if _, both := b[k]; both {
			return true
		}
	}
	return false
}

// sorted is the proofs in one order.
func (w *words) sorted() []key { return slices.Sorted(maps.Keys(w.keys)) }
