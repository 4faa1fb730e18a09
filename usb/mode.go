package usb

import (
	"cmp"
	"slices"

	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/quirk"
)

// Wanted reports whether a device is a printer by its descriptors: class 7 with endpoints, or what a quirk says is one.
func wanted(table quirk.Table) func(bus.Device) bool {
	return func(d bus.Device) bool {
		for _, i := range d.Interfaces {
			if i.Class == 7 && i.SubClass == 1 {
				return true
			}
		}
		q := table.Of(d)
		return len(ippFaces(d, q)) > 0 || len(rawFaces(d, q)) > 0
	}
}

// isIPP reports whether an interface is IPP over USB.
func isIPP(i bus.Interface, q quirk.Quirks) bool {
	return i.Is(7, 1, 4) || q.VendorIPP && i.Is(0xff, 9, 1)
}

// ippFaces are the interfaces for IPP over USB that may be used at once: those of the one configuration that has the most, each in
// the first of its settings that will do, in the descriptors' order.
func ippFaces(d bus.Device, q quirk.Quirks) []bus.Interface {
	if q.NoIPP {
		return nil
	}
	found := map[int][]bus.Interface{}
	for _, i := range d.Interfaces {
		taken := func(o bus.Interface) bool { return o.Number == i.Number }
		if isIPP(i, q) && i.In.Number != 0 && i.Out.Number != 0 && !slices.ContainsFunc(found[i.ConfigIndex], taken) {
			found[i.ConfigIndex] = append(found[i.ConfigIndex], i)
		}
	}
	var best []bus.Interface
	for _, faces := range found {
		if len(faces) > len(best) || len(faces) == len(best) && len(faces) > 0 && faces[0].ConfigIndex < best[0].ConfigIndex {
			best = faces
		}
	}
	return best
}

// rawFaces are the settings that take a stream of bytes, the best first: 7/1/2, then 7/1/1, then a vendor's where a quirk says so.
func rawFaces(d bus.Device, q quirk.Quirks) []bus.Interface {
	rank := func(i bus.Interface) int {
		switch {
		case i.Out.Number == 0:
			return 0
		case i.Is(7, 1, 2):
			return 3
		case i.Is(7, 1, 1):
			return 2
		case q.VendorRaw && i.Class == 0xff:
			return 1
		}
		return 0
	}
	var faces []bus.Interface
	for _, i := range d.Interfaces {
		if rank(i) > 0 {
			faces = append(faces, i)
		}
	}
	slices.SortStableFunc(faces, func(a, b bus.Interface) int { return cmp.Compare(rank(b), rank(a)) })
	return faces
}

// effective leaves out of what was decided for a device the entries that change nothing for its interfaces, so that people are shown
// those that do.
func effective(d bus.Device, q quirk.Quirks) []quirk.Applied {
	vendorIPP := slices.ContainsFunc(d.Interfaces, func(i bus.Interface) bool { return i.Is(0xff, 9, 1) })
	anyIPP := slices.ContainsFunc(d.Interfaces, func(i bus.Interface) bool { return isIPP(i, q) })
	idle := map[string]bool{"vendor-ipp-usb": !vendorIPP, "no-ipp-usb": !anyIPP}
	var all []quirk.Applied
	for _, a := range q.Applied {
		if slices.ContainsFunc(a.Words, func(w string) bool { return !idle[w] }) {
			all = append(all, a)
		}
	}
	return all
}
