package approval

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mfpgate/mfpgate"
)

// mailable reports whether letters may go to an address, whoever names it.
func (p Policy) mailable(address string) bool {
	domain := address[strings.LastIndexByte(address, '@')+1:]
	return slices.ContainsFunc(p.AdminDomains, func(d string) bool { return strings.EqualFold(d, domain) })
}

// writesTo reports whether a letter may go to an administrator now: the domains may be others than when he was chosen.
func (p Policy) writesTo(admin string) bool { return len(p.AdminDomains) == 0 || p.mailable(admin) }

// admin is whom a registration asks: whom the request names, or else the configuration.
func (p Policy) admin(c mfpgate.PrintCandidate, asked string) (string, error) {
	text := asked
	if asked == "" {
		text = c.Admin
	}
	if text == "" {
		return "", refuse(NoAdmin, "Nobody is configured who could approve it. Set registration.admin, or registration.admins for this device.")
	}
	admin, err := mfpgate.MailAddress(text)
	switch {
	case err != nil && asked == "":
		return "", refuse(NoAdmin, fmt.Sprintf("The configured administrator %.80q is not one mail address. Correct registration.admin or registration.admins.", text))
	case err != nil:
		return "", refuse(BadRequest, "The administrator must be one mail address, such as it@example.co.jp.")
	case p.mailable(admin), asked == "" && len(p.AdminDomains) == 0:
		return admin, nil
	case asked == "":
		return "", refuse(AdminDomain, fmt.Sprintf("The configured administrator %s is in none of the domains of registration.admin_domains. Add the domain there.", admin))
	case c.Admin != "" && strings.EqualFold(asked, c.Admin) && len(p.AdminDomains) == 0:
		return admin, nil
	}
	return "", refuse(AdminDomain, fmt.Sprintf("Letters may not go to %s: its domain is none of registration.admin_domains. Leave the administrator out, or have the domain added.", admin))
}

func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) })
}
