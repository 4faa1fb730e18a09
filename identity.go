package mfpgate

import (
	"encoding/hex"
	"strings"
)

// CleanUUID is a UUID in its form of 36 characters (RFC 9562 §4), in lower case and without "urn:uuid:", however a device writes
// it. What is none is empty, and so are those that makers leave unset, all zeros or all ones: they would make one device of many.
func CleanUUID(s string) string {
	s = strings.TrimPrefix(strings.ToLower(strings.TrimSpace(s)), "urn:uuid:")
	digits := strings.ReplaceAll(s, "-", "")
	if len(digits) != 32 || strings.Trim(digits, "0123456789abcdef") != "" || strings.Trim(digits, "0") == "" || strings.Trim(digits, "f") == "" {
		return ""
	}
	whole := digits[:8] + "-" + digits[8:12] + "-" + digits[12:16] + "-" + digits[16:20] + "-" + digits[20:]
	if s != digits && s != whole {
		return "" // dashes elsewhere
	}
	return whole
}

// MakeUUID makes a UUID of 16 bytes, as CleanUUID has it: of version 4 if they are random, of version 8 if they are a part of a hash
// (RFC 9562 §5.4, §5.8). Six bits of them are not used.
func MakeUUID(version byte, of [16]byte) string {
	of[6], of[8] = of[6]&0x0f|version<<4, of[8]&0x3f|0x80
	x := hex.EncodeToString(of[:])
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

// CleanSerial is a serial number without space around it, or empty for a text that only fills its place: one character over and
// over, a run of digits, a word. Two devices that both say "000000" are not one device.
func CleanSerial(s string) string {
	s = strings.TrimSpace(s)
	switch strings.ToLower(s) {
	case "", "none", "null", "unknown", "n/a", "na", "not available", "notavailable", "not set", "undefined", "default", "serial", "serial number",
		"serialnumber", "to be filled by o.e.m.":
		return ""
	}
	if strings.Trim(s, s[:1]) == "" || strings.Trim(s, "0xX-_?.* #") == "" || strings.Trim(s, "fF") == "" ||
		strings.HasPrefix("0123456789", s) || strings.HasPrefix("123456789012345", s) {
		return ""
	}
	return s
}
