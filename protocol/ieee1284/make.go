package ieee1284

import "strings"

// makers are the names that a device's description begins with. Longer names stand before those that they begin with.
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

// SplitMake splits make and model where the table knows the maker, as the device writes it. Of others all is the model: the
// first word of two is as often a product line as a maker.
func SplitMake(s string) (maker, model string) {
	for _, known := range makers() {
		if len(s) > len(known) && strings.EqualFold(s[:len(known)], known) && s[len(known)] == ' ' {
			return s[:len(known)], strings.TrimSpace(s[len(known):])
		}
	}
	return "", s
}
