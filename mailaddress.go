package mfpgate

import (
	"errors"
	"fmt"
	"strings"
)

// MaxMailAddress bounds a mail address, in bytes (RFC 5321 §4.5.3.1.3, without the angle brackets).
const MaxMailAddress = 254

const (
	maxLocalPart = 64 // bytes (RFC 5321 §4.5.3.1.1)
	// atoms is atext of RFC 5322 §3.2.3 without % and !: mail servers read user%other.example and other.example!user as another
	// address (Postfix as it is delivered, allow_percent_hack and swap_bangpath), and would send a letter on to a domain that
	// nobody has looked at.
	atoms = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789#$&'*+-/=?^_`{|}~"
)

// ErrMailAddress is wrapped by MailAddress for what is not one plain mail address.
var ErrMailAddress = errors.New("not one mail address such as it@example.com")

// MailAddress returns the one mail address that text is, with its domain in lower case, since that does not matter (RFC 5321 §2.4).
//
// It is a dot-string at a host name, in ASCII (RFC 5321 §4.1.2): what can be no second address, no name, no comment and no line of
// a letter's head, however it is written there. A quoted local part, a route in it (user%other.example), an address literal and letters
// of other scripts (RFC 6531) are refused; a domain of these is written as xn--….
func MailAddress(text string) (string, error) {
	at := strings.LastIndexByte(text, '@')
	if at < 0 || len(text) > MaxMailAddress || !dotString(text[:at]) {
		return "", fmt.Errorf("%.80q is %w", text, ErrMailAddress)
	}
	domain := asciiLower(text[at+1:]) // strings.ToLower makes a k of the Kelvin sign
	host, err := ParseHost(domain)
	if _, literal := host.Address(); err != nil || literal || host.String() != domain {
		return "", fmt.Errorf("%.80q is %w", text, ErrMailAddress)
	}
	return text[:at+1] + domain, nil
}

// dotString reports whether a local part is atoms with single dots between them.
func dotString(local string) bool {
	if len(local) > maxLocalPart {
		return false
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.Trim(atom, atoms) != "" {
			return false
		}
	}
	return true
}

func asciiLower(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'A' && c <= 'Z' {
			return c - 'A' + 'a'
		}
		return c
	}, s)
}
