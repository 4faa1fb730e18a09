package model

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
)

// IDForm is how a printer answers GET_DEVICE_ID.
type IDForm string

// The forms.
const (
	IDPlain        IDForm = ""              // as USB printer class 1.1 §4.2.1 wants it: a big-endian length that counts itself
	IDLittleEndian IDForm = "little-endian" // the length in the wrong order
	IDTooLong      IDForm = "too-long"      // a length that is more than what comes
	IDTooShort     IDForm = "too-short"     // a length that is less
	IDTruncated    IDForm = "truncated"     // the right length, and the last two bytes do not come (Linux's f_printer)
	IDEmpty        IDForm = "empty"         // a length, and nothing behind it
	IDNothing      IDForm = "nothing"       // no byte
	IDUTF16        IDForm = "utf-16"        // big-endian UTF-16 (DYMO)
	IDPlaceholder  IDForm = "placeholder"   // a serial number of zeros
	IDRefused      IDForm = "refused"       // a stall
)

// IDForms are all of them.
func IDForms() []IDForm {
	return []IDForm{IDPlain, IDLittleEndian, IDTooLong, IDTooShort, IDTruncated, IDEmpty, IDNothing, IDUTF16, IDPlaceholder, IDRefused}
}

// DeviceID is the printer's IEEE 1284 id as it means it, whatever its form makes of that.
func (p *Printer) DeviceID() string {
	o := p.options
	switch {
	case o.ID != "":
		return o.ID
	case o.IDForm == IDPlaceholder:
		o.Serial = "000000000000"
	}
	var id strings.Builder
	fmt.Fprintf(&id, "MFG:%s;MDL:%s;CMD:%s;CLS:PRINTER;DES:%s %s;", o.Make, o.Model, o.CommandSet, o.Make, o.Model)
	if o.Serial != "" {
		fmt.Fprintf(&id, "SN:%s;", o.Serial)
	}
	return id.String()
}

func (p *Printer) idAnswer() ([]byte, error) {
	id := []byte(p.DeviceID())
	if p.options.IDForm == IDUTF16 {
		id = id[:0:0]
		for _, unit := range utf16.Encode([]rune(p.DeviceID())) {
			id = binary.BigEndian.AppendUint16(id, unit)
		}
	}
	length := 2 + len(id)
	answer := append(binary.BigEndian.AppendUint16(nil, uint16(length)), id...)
	switch p.options.IDForm {
	case IDLittleEndian:
		binary.LittleEndian.PutUint16(answer, uint16(length))
	case IDTooLong:
		binary.BigEndian.PutUint16(answer, uint16(length+1000))
	case IDTooShort:
		binary.BigEndian.PutUint16(answer, uint16(length/2))
	case IDTruncated:
		answer = answer[:length-2]
	case IDEmpty:
		answer = []byte{0, 2}
	case IDNothing:
		answer = nil
	case IDRefused:
		return nil, ErrStall
	}
	return answer, nil
}
