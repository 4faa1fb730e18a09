package ipp

import (
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/protocol/ieee1284"
)

// identityNames are the attributes of Identify: RFC 8011 §5.4, PWG 5100.13 (printer-device-id, -dns-sd-name, -firmware-*,
// -uuid), PWG 5100.11 (printer-serial-number).
func identityNames() []string {
	return append([]string{
		"printer-uuid", "printer-device-id", "printer-serial-number", "printer-make-and-model", "printer-dns-sd-name",
		"printer-name", "printer-info", "printer-location", "printer-state",
	}, firmwareNames()...)
}

// identity is who the printer says it is.
func (a attributes) identity() mfpgate.Identity {
	id := a.deviceID()
	out := mfpgate.Identity{
		UUID:   mfpgate.CleanUUID(a.text("printer-uuid")),
		Make:   id.Make,
		Model:  id.Model,
		Serial: mfpgate.CleanSerial(a.text("printer-serial-number")),
	}
	if out.Serial == "" {
		out.Serial = id.Serial
	}
	if out.Make == "" || out.Model == "" {
		maker, model := ieee1284.SplitMake(a.text("printer-make-and-model"))
		if out.Make == "" {
			out.Make = maker
		}
		if out.Model == "" {
			out.Model = model
		}
	}
	return out
}

// deviceID reads printer-device-id, which may be longer than a text that is shown.
func (a attributes) deviceID() ieee1284.ID {
	values := a.values["printer-device-id"]
	if len(values) == 0 {
		return ieee1284.ID{}
	}
	return ieee1284.Parse(a.raw(values[0].V))
}

// describes reports whether the answer is that of a printer: one attribute of those that RFC 8011 §5.4 requires of all.
func (a attributes) describes() bool {
	_, state := a.integer("printer-state")
	return state || a.first("printer-state-reasons", "printer-name", "printer-make-and-model", "printer-uuid") != ""
}

func firmwareNames() []string {
	return []string{"printer-firmware-name", "printer-firmware-string-version"}
}

// firmware joins the parallel names and versions (PWG 5100.13 §5.6.6), or is the version alone where there is but one, which
// can then be compared with a package's. What has no version says nothing.
func (a attributes) firmware() string {
	names, versions := a.texts("printer-firmware-name"), a.texts("printer-firmware-string-version")
	if len(versions) == 1 {
		return versions[0]
	}
	var parts []string
	for i, version := range versions {
		if version == "" {
			continue
		}
		if i < len(names) && names[i] != "" && !strings.Contains(version, names[i]) {
			version = names[i] + " " + version
		}
		parts = append(parts, version)
	}
	return mfpgate.CleanText(strings.Join(parts, ", "), maxText)
}
