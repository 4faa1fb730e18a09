package main

import (
	"cmp"
	"fmt"
	"io"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

func printRegistrations(out io.Writer, list []mfpgate.Registration, now time.Time) {
	rows := [][]string{{"DEVICE", "USER", "SERVICE", "STATE", "CODE", "SINCE", "ID"}}
	for _, g := range list {
		state := string(g.State)
		if g.Reason != "" {
			state += " (" + string(g.Reason) + ")"
		}
		code := "-"
		if g.Attempt > 0 {
			code = fmt.Sprintf("%d/%d", g.Attempt, g.Attempts)
		}
		rows = append(rows, []string{clean(cmp.Or(g.Device.Name, string(g.Device.ID))), clean(g.User), clean(g.Service), clean(state), code, ago(g.Since, now), clean(g.ID)})
	}
	printTable(out, rows, []narrowing{{0, 16}, {1, 24}, {2, 8}, {0, 10}, {1, 16}})
}

// progress says in a line where a registration stands.
func progress(g mfpgate.Registration) string {
	text := string(g.State)
	switch g.State {
	case mfpgate.RegistrationAwaitingAdmin:
		switch {
		case g.Local:
			text += ": waits for an administrator of this gateway"
		case g.Mode == mfpgate.RegistrationAgent:
			text += ": the device asks " + g.Admin
		default:
			text += fmt.Sprintf(": code %d of %d, asks %s", g.Attempt, g.Attempts, g.Admin)
		}
	case mfpgate.RegistrationRegistered:
		if g.PrinterID != "" {
			text += ": printer " + g.PrinterID
		}
	}
	if g.Detail != "" {
		text += ": " + g.Detail
	} else if g.Reason != "" {
		text += ": " + string(g.Reason)
	}
	return text
}

func printRegistration(out io.Writer, g control.RegistrationDetail, now time.Time) {
	s := sheet{out, now}
	fmt.Fprintf(out, "%s\n", clean(g.ID))
	s.line("state", "%s, since %s", g.State, s.at(g.Since))
	s.line("why", "%s", cmp.Or(g.Detail, string(g.Reason)))
	if g.Purpose == mfpgate.PurposeAllowUser {
		s.line("asks for", "one more user of a device that is registered")
	}
	s.line("user", "%s", g.User)
	s.line("print service", "%s", g.Service)
	s.line("requested", "%s%s", s.at(g.RequestedAt), who(g.Registration))
	if !g.State.Ended() {
		s.line("given up", "%s", s.until(g.Deadline))
	}

	s.title("Device", time.Time{})
	for _, pair := range [][2]string{{"id", string(g.Device.ID)}, {"name", g.Device.Name}, {"make and model", g.Device.Make + " " + g.Device.Model},
		{"serial number", g.Device.Serial}, {"location", g.Device.Location}, {"address", g.Device.Address}, {"UUID", g.Device.UUID}} {
		s.line(pair[0], "%s", pair[1])
	}
	if g.Mode == mfpgate.RegistrationAgent {
		s.line("registers", "itself")
	}

	s.title("Administrator", time.Time{})
	s.line("address", "%s", g.Admin)
	if g.Attempts > 0 && g.Attempt > 0 {
		s.line("codes", "%d of %d", g.Attempt, g.Attempts)
	}
	s.line("code", "%s", g.UserCode)
	s.line("to be typed at", "%s", g.VerificationURI)
	if !g.ExpiresAt.IsZero() {
		s.line("good until", "%s", s.until(g.ExpiresAt))
	}
	if g.Local {
		s.line("decision", "of this gateway: mfpgate registrations approve %s", g.ID)
	}
	if g.Mails > 0 {
		s.line("letters", "%d, the last %s", g.Mails, s.at(g.MailedAt))
	}
	s.line("LETTER WAITS", "%s", g.MailError)

	if g.PrinterID != "" || g.Certificate != "" {
		s.title("Printer", time.Time{})
	}
	s.line("id at the service", "%s", g.PrinterID)
	s.line("jobs come from", "%s", g.PrinterURI)
	s.line("certificate", "%s", g.Certificate)
	if !g.CertificateExpires.IsZero() {
		s.line("good until", "%s", s.until(g.CertificateExpires))
	}
}

func who(g mfpgate.Registration) string {
	text := ""
	if g.Account != "" {
		text += " by " + g.Account
	}
	if g.From != "" {
		text += " from " + g.From
	}
	return text
}

// until is a time to come.
func (s sheet) until(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	if !t.After(s.now) {
		return s.at(t)
	}
	return t.Local().Format(time.DateTime) + " (in " + ago(s.now, t) + ")"
}
