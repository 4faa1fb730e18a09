package approval

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
)

const maxLetter = 32 << 10

// sentences are what people read of a reason, with what to do.
var sentences = map[mfpgate.Reason]string{
	DeviceBusy:      "Another user's registration of this device has not ended; this one goes on after it.",
	Unreached:       "The print service gave no usable answer. It is asked again.",
	LetterWaits:     "The last code expired before its letter could be sent, because the mail server does not take letters. It does not count. Check the mail settings.",
	Exhausted:       "Nobody approved it before the last code expired. Speak to the administrator, and ask again.",
	Denied:          "The administrator said no. Speak to the administrator.",
	Timeout:         "It was not approved and carried out by its deadline. Speak to the administrator, and ask again.",
	LostGrant:       "An approval was lost on its way to the gateway. The administrator is asked again; that does not count.",
	HostChanged:     "The print service names a page on a host that it was not configured with, so nobody was sent there. Check with the service; if it is right, add the host to the service's verification_hosts.",
	RefusedBy:       "The print service does not take the request.",
	BadAnswer:       "The print service answers what cannot be used. Check the service's url and kind, and ask again.",
	BadCertificate:  "The certificate that the print service gave is not for this device's key, or of no use. Tell the service's administrator, and ask again.",
	NoUserList:      "The device is registered in this print service already, and the service keeps no list of users that the gateway could add to. The service's own administrator must share the printer with the user there.",
	TooMany:         "Too many users wait for this device's registration. Ask again when it has ended.",
	UserUnconfirmed: "The print service has to know that the mail address is the user's: it sent a letter there. Open the link in that letter, and confirm; then you can print.",
	UserNotAllowed:  "The administrator approved the device, but did not choose this user. Ask the administrator to allow the user in the print service, or ask again.",
	ByDevice:        "The device could not be registered; its own panel or log says more. Ask again.",
}

func sentence(why mfpgate.Reason) string { return sentences[why] }

// withCause is a reason's sentence with what the other side said, which is foreign text.
func withCause(why mfpgate.Reason, err error) string {
	return sentence(why) + " (" + mfpgate.CleanText(err.Error(), maxText) + ")"
}

func hostText(err error) string { return withCause(HostChanged, err) }

func attemptText(r *record) string { return fmt.Sprintf("code %d of %d", r.Attempt, r.Attempts) }

// lines builds a letter's text, one fact a line.
type lines struct{ strings.Builder }

func (l *lines) say(format string, args ...any) { fmt.Fprintf(l, format+"\n", args...) }

func (l *lines) fact(name, value string) {
	if value = mfpgate.CleanText(value, maxText); value != "" {
		l.say("  %-14s %s", name+":", value)
	}
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" }

func (l *lines) device(r *record) {
	d := r.Device
	l.fact("Device", d.Name)
	l.fact("Model", strings.TrimSpace(d.Make+" "+d.Model))
	l.fact("Serial number", d.Serial)
	l.fact("Place", d.Location)
	l.fact("Address", d.Address)
}

// portalPage is a registration's page on the portal, or "".
func (p Policy) portalPage(id string) string {
	if p.Portal == "" {
		return ""
	}
	page, err := url.JoinPath(p.Portal, "registrations", id)
	if err != nil {
		return ""
	}
	return page
}

// adminLetter asks the administrator. The code is not in the link: it is to be typed by somebody who has read the letter.
func (b *Broker) adminLetter(r *record, id string) (mfpgate.Letter, error) {
	p := b.policy.Load()
	c, _, err := b.present(r)
	if err != nil {
		return mfpgate.Letter{}, err
	}
	var l lines
	verb := "register a device in the print service"
	if r.Purpose == mfpgate.PurposeAllowUser {
		verb = "let one more user print on a device that is registered in the print service"
	}
	l.say("A user asks you to %s %q.\n", verb, mfpgate.CleanText(r.Service, maxText))
	l.device(r)
	l.fact("Site", p.SiteName)
	l.say("")
	l.fact("User", r.User)
	l.fact("Asked by", r.Account)
	l.fact("Asked from", r.From)
	l.fact("Asked at", utc(r.RequestedAt))
	l.say("")
	if r.Reason == LostGrant {
		l.say("You may have approved this before: that approval was lost on its way. Please approve it once more.\n")
	}
	if r.Local {
		if page := p.portalPage(r.ID); page != "" {
			l.say("To decide, log in to the gateway's portal:\n\n    %s\n", page)
		} else {
			l.say("To decide, log in to the gateway's portal and open Registrations.\n")
		}
		l.say("You have time until %s.", utc(r.Deadline))
	} else {
		l.say("To approve, open this page of the print service, log in, and type the code:\n")
		l.say("    %s\n    Code: %s\n", r.VerificationURI, c.UserCode.Reveal())
		l.say("The code lives until %s. After that you get a letter with another one; this is %s.", utc(r.ExpiresAt), attemptText(r))
		if page := p.portalPage(r.ID); page != "" {
			l.say("\nThe gateway's page of this request, with the code that is valid now:\n\n    %s", page)
		}
	}
	l.say("\nIf you do not know this user or this device, do not type the code. Deny the request on that page, or cancel it on the")
	l.say("gateway's portal, and tell your security staff: somebody may want to print, or read what others print, in your name.")
	return b.mail(id, r.Admin, fmt.Sprintf("Please approve: %s in %s", mfpgate.CleanText(r.Device.Name, 80), mfpgate.CleanText(r.Service, 80)), l.String()), nil
}

// digestLetter asks an administrator about many at once.
func (b *Broker) digestLetter(c collected, list []*record) (mfpgate.Letter, error) {
	p := b.policy.Load()
	var l lines
	l.say("These requests wait for you. They come in one letter because %d letters went to you in the last hour.\n", MaxLetters)
	for i, r := range list {
		if l.Len() > maxLetter-2048 {
			l.say("And %d more, which are on the gateway's portal.", len(list)-i)
			break
		}
		code, _, err := b.present(r)
		if err != nil {
			return mfpgate.Letter{}, err
		}
		l.say("%d. Print service %q", i+1, mfpgate.CleanText(r.Service, maxText))
		l.device(r)
		l.fact("User", r.User)
		l.fact("Asked from", r.From)
		l.fact("Asked at", utc(r.RequestedAt))
		if r.Local {
			l.fact("Decide at", p.portalPage(r.ID))
		} else {
			l.say("  %-14s %s\n  %-14s %s (until %s)", "Page:", r.VerificationURI, "Code:", code.UserCode.Reveal(), utc(r.ExpiresAt))
		}
		l.say("")
	}
	l.say("If you do not know a user or a device, do not type its code. Deny the request, and tell your security staff.")
	return b.mail("digest."+list[0].code(), c.Admin, fmt.Sprintf("Please approve: %d requests", len(list)), l.String()), nil
}

// userLetter tells the user of the end.
func (b *Broker) userLetter(r *record) mfpgate.Letter {
	var l lines
	name, registered := mfpgate.CleanText(r.Device.Name, 80), r.State == mfpgate.RegistrationRegistered
	subject := "You can print on " + name
	switch {
	case registered && r.Reason == UserUnconfirmed:
		subject = "One step to go: " + name
		l.say("Your request was approved: this device is in the print service %q. Before you can print, the service needs your answer.\n", mfpgate.CleanText(r.Service, maxText))
	case registered && r.Reason == UserNotAllowed:
		subject = "Registered, but not for you: " + name
		l.say("This device is in the print service %q now, but you may not print on it yet.\n", mfpgate.CleanText(r.Service, maxText))
	case registered:
		l.say("Your request was approved: you can print on this device in the print service %q.\n", mfpgate.CleanText(r.Service, maxText))
	default:
		subject = "Not registered: " + name
		l.say("Your request came to nothing: this device, for you, in the print service %q.\n", mfpgate.CleanText(r.Service, maxText))
	}
	l.device(r)
	l.fact("Asked at", utc(r.RequestedAt))
	// What a service or a device says of its reasons stays on the portal: a letter of ours must not carry their words and addresses.
	if why := sentence(r.Reason); why != "" {
		l.say("\n%s", why)
	} else if r.State == mfpgate.RegistrationFailed {
		l.say("\n%s", sentence(ByDevice))
	}
	if page := b.policy.Load().portalPage(r.ID); page != "" {
		l.say("\nThe request on the gateway's portal:\n\n    %s", page)
	}
	return b.mail(r.ID+".end", r.User, subject, l.String())
}

func (b *Broker) mail(id, to, subject, text string) mfpgate.Letter {
	return mfpgate.Letter{ID: id, To: to, Subject: mfpgate.CleanText(subject, 200), Text: text, Date: b.now()}
}
