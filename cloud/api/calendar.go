package api

import "time"

// Calendar judges the texts of a document that say when: package calendar does (calendar.Texts), and who checks a document
// brings it. An error's text says what to write.
type Calendar interface {
	// Zone returns the zone of an IANA name or "UTC".
	Zone(name string) (*time.Location, error)
	// LocalTime accepts "2026-12-02T02:00:00", with the seconds or without.
	LocalTime(text string) error
	// TimeOfDay returns how long after midnight "22:00" is; "24:00" is the end of a day.
	TimeOfDay(text string) (time.Duration, error)
	// Cron accepts a cron line that occurs in the zone. A gap or fold rule of no known name is the default.
	Cron(line string, zone *time.Location, gap, fold string) error
	// RRULE accepts a recurrence of RFC 5545 that begins at a local time and occurs. Gap and fold as of Cron.
	RRULE(first, rule string, zone *time.Location, gap, fold string) error
}
