package ipp

import (
	"strings"

	"github.com/mfpgate/mfpgate"
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
		UUID:   uuid(a.text("printer-uuid")),
		Make:   id.make,
		Model:  id.model,
		Serial: a.text("printer-serial-number"),
	}
	if out.Serial == "" {
		out.Serial = id.serial
	}
	if out.Make == "" || out.Model == "" {
		maker, model := splitMake(a.text("printer-make-and-model"))
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
func (a attributes) deviceID() deviceID {
	values := a.values["printer-device-id"]
	if len(values) == 0 {
		return deviceID{}
	}
	s := a.raw(values[0].V)
	return parseDeviceID(s[:min(len(s), 4096)])
}

// describes reports whether the answer is that of a printer: one attribute of those that RFC 8011 §5.4 requires of all.
func (a attributes) describes() bool {
	_, state := a.integer("printer-state")
	return state || a.first("printer-state-reasons", "printer-name", "printer-make-and-model", "printer-uuid") != ""
}

// uuid is the 36 characters of a URN (RFC 9562 §4) in lower case. What is none is empty, and so is the nil UUID: it would make one
// device of all that have not been given theirs.
func uuid(s string) string {
	const shape, nobody = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "00000000-0000-0000-0000-000000000000"
	s = strings.TrimPrefix(strings.ToLower(s), "urn:uuid:")
	if len(s) != len(shape) || s == nobody {
		return ""
	}
	for i := range len(s) {
		hex := s[i] >= '0' && s[i] <= '9' || s[i] >= 'a' && s[i] <= 'f'
		if shape[i] == '-' && s[i] != '-' || shape[i] == 'x' && !hex {
			return ""
		}
	}
	return s
}

// makers are the names that printer-make-and-model begins with. Longer names stand before those that they begin with.
func makers() []string {
	return []string{
		"Apollo", "Avery Dennison", "BIXOLON", "Brother", "Canon", "Citizen", "Datamax", "Dell", "Develop", "DYMO",
		"EPSON", "Fargo", "FUJIFILM", "FUJI XEROX", "Fujitsu", "Gestetner", "Hewlett-Packard", "Hewlett Packard", "HITI", "Honeywell",
		"HP", "IBM", "imagistics", "Infotec", "Intermec", "KODAK", "KONICA MINOLTA", "Kyocera Mita", "Kyocera", "Lanier",
		"Lexmark", "Mimaki", "MITSUBISHI", "Muratec", "NEC", "NRG", "Oki Data", "OKI", "Olivetti", "Panasonic",
		"Pantum", "Primera", "Printronix", "RICOH", "Riso", "Roland", "Samsung", "Savin", "SATO", "Seiko",
		"Sharp", "Sindoh", "Star", "TA Triumph-Adler", "TallyGenicom", "Toshiba Tec", "TOSHIBA", "TSC", "UTAX", "Xerox", "Zebra",
	}
}

// splitMake splits make and model where the table knows the maker, as the device writes it. Of others all is the model: the
// first word of two is as often a product line as a maker.
func splitMake(s string) (maker, model string) {
	for _, known := range makers() {
		if len(s) > len(known) && strings.EqualFold(s[:len(known)], known) && s[len(known)] == ' ' {
			return s[:len(known)], strings.TrimSpace(s[len(known):])
		}
	}
	return "", s
}

func firmwareNames() []string {
	return []string{"printer-firmware-name", "printer-firmware-string-version"}
}

// firmware joins the parallel names and versions (PWG 5100.13 §5.6.6); what has no version says nothing.
func (a attributes) firmware() string {
	names := a.texts("printer-firmware-name")
	var parts []string
	for i, version := range a.texts("printer-firmware-string-version") {
		if version == "" {
			continue
		}
		if i < len(names) && names[i] != "" && !strings.Contains(version, names[i]) {
			version = names[i] + " " + version
		}
		parts = append(parts, version)
	}
	return clean(strings.Join(parts, ", "))
}
