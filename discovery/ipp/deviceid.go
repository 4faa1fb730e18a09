package ipp

import "strings"

// deviceID is what an IEEE 1284 device ID says of identity.
type deviceID struct{ make, model, serial string }

// parseDeviceID reads MFG, MDL and SN and their aliases: pairs end with a semicolon, the first colon splits key and value,
// keys are read in any case, and the first of two wins.
func parseDeviceID(s string) deviceID {
	var id deviceID
	for pair := range strings.SplitSeq(s, ";") {
		key, value, _ := strings.Cut(pair, ":")
		var field *string
		switch strings.ToUpper(strings.TrimSpace(key)) {
		case "MFG", "MANUFACTURER":
			field = &id.make
		case "MDL", "MODEL":
			field = &id.model
		case "SN", "SERN", "SERIALNUMBER":
			field = &id.serial
		default:
			continue
		}
		if *field == "" {
			*field = clean(value)
		}
	}
	return id
}
