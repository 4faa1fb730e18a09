package ieee1284

import (
	"encoding/binary"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/mfpgate/mfpgate"
)

// The bounds of what is read: PWG 5107.2 lets an id have 65,535 octets, and no device needs more than a few hundred.
const (
	MaxID    = 4096 // octets of the whole id; the rest is not read
	MaxValue = 256  // octets of one value but CommandSet; the rest is cut off
)

// ID is what an id says. What it does not say is empty.
type ID struct {
	Make         string   // MFG, MANUFACTURER
	Model        string   // MDL, MODEL
	Serial       string   // SN, SERN, SERIALNUMBER; never a placeholder
	Description  string   // DES, DESCRIPTION
	Class        string   // CLS, CLASS: PRINTER
	CommandSet   []string // CMD, COMMAND SET: the page description languages
	CompatibleID string   // CID, COMPATIBLEID
	VID, PID     string   // hex, as the device says them
}

// IsZero reports whether nothing was read.
func (id ID) IsZero() bool {
	return id.Make == "" && id.Model == "" && id.Serial == "" && id.Description == "" && id.Class == "" &&
		len(id.CommandSet) == 0 && id.CompatibleID == "" && id.VID == "" && id.PID == ""
}

// Parse reads an id without its length, as IPP and SNMP carry it; a length that is there nevertheless is skipped. The
// first of several values for a key counts, and so does the short name of a key before the long one.
func Parse(text string) ID {
	if len(text) > MaxID {
		text = text[:MaxID]
	}
	raw := []byte(text)
	if n := lengthPrefix(raw); n > 0 {
		raw = raw[n:]
	}
	if s, ok := fromUTF16(raw); ok {
		text = s
	} else {
		text = string(raw)
	}

	var id ID
	for part := range strings.SplitSeq(text, ";") {
		key, value, ok := strings.Cut(part, ":")
		if !ok {
			continue
		}
		key = strings.ToUpper(strings.TrimFunc(key, isFiller))
		if key == "CMD" || key == "COMMAND SET" {
			if len(id.CommandSet) == 0 {
				id.CommandSet = languages(value)
			}
			continue
		}
		if to := id.field(key); to != nil && *to == "" {
			*to = Text(value, MaxValue)
		}
	}
	id.Serial = mfpgate.CleanSerial(id.Serial)
	return id
}

// ParseAnswer reads the answer to USB's GET_DEVICE_ID: two octets of length that count themselves, then the id. The
// length should be big-endian (USB printer class 1.1 §4.2.1); some printers send it little-endian, or one that is wrong.
func ParseAnswer(answer []byte) ID {
	if len(answer) < 2 {
		return ID{}
	}
	for _, order := range []binary.ByteOrder{binary.BigEndian, binary.LittleEndian} {
		// The shortest id that says anything is "MFG:x;MDL:y;" and its length.
		if n := int(order.Uint16(answer)); n >= 14 && n <= len(answer) {
			return Parse(string(answer[2:n]))
		}
	}
	return Parse(string(answer[2:]))
}

// field is where the value of a key belongs, nil for one that is not kept.
func (id *ID) field(key string) *string {
	switch key {
	case "MFG", "MANUFACTURER":
		return &id.Make
	case "MDL", "MODEL":
		return &id.Model
	case "SN", "SERN", "SERIALNUMBER":
		return &id.Serial
	case "DES", "DESCRIPTION":
		return &id.Description
	case "CLS", "CLASS":
		return &id.Class
	case "CID", "COMPATIBLEID":
		return &id.CompatibleID
	case "VID":
		return &id.VID
	case "PID":
		return &id.PID
	}
	return nil
}

// lengthPrefix is 2 where the id begins with its own length in either byte order, else 0. No key begins with an octet
// below the blank, and the first octet of one length or the other is.
func lengthPrefix(raw []byte) int {
	if len(raw) < 4 {
		return 0
	}
	for _, order := range []binary.ByteOrder{binary.BigEndian, binary.LittleEndian} {
		if n := int(order.Uint16(raw)); n == len(raw) || n == len(raw)-2 {
			return 2
		}
	}
	return 0
}

// fromUTF16 decodes a text of two-octet characters, which DYMO's devices send big-endian: every other octet of its keys is
// NUL.
func fromUTF16(raw []byte) (string, bool) {
	if len(raw) < 8 {
		return "", false
	}
	var order binary.ByteOrder
	switch {
	case raw[0] == 0 && raw[2] == 0 && raw[4] == 0 && raw[1] != 0:
		order = binary.BigEndian
	case raw[1] == 0 && raw[3] == 0 && raw[5] == 0 && raw[0] != 0:
		order = binary.LittleEndian
	default:
		return "", false
	}
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = order.Uint16(raw[2*i:])
	}
	return string(utf16.Decode(units)), true
}

func languages(value string) []string {
	var all []string
	for name := range strings.SplitSeq(value, ",") {
		if name = Text(name, 64); name != "" && len(all) < 32 {
			all = append(all, name)
		}
	}
	return all
}

// Text is mfpgate.CleanText of foreign octets that end at the first NUL, and are Latin-1 where they are no UTF-8.
func Text(raw string, limit int) string {
	raw = strings.TrimLeft(raw, "\x00")
	raw, _, _ = strings.Cut(raw, "\x00")
	if utf8.ValidString(raw) {
		return mfpgate.CleanText(raw, limit)
	}
	latin1 := make([]rune, min(len(raw), 4*limit))
	for i := range latin1 { // each octet is its own code point
		latin1[i] = rune(raw[i])
	}
	return mfpgate.CleanText(string(latin1), limit)
}

func isFiller(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }
