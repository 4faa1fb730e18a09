package calendar

import "time"

// Texts judges texts that say when and keeps nothing of them, for those who hold a document against its rules and expand it
// later or elsewhere. The zero value is ready.
type Texts struct{}

// Zone reads as ParseZone does.
func (Texts) Zone(name string) (*time.Location, error) { return ParseZone(name) }

// LocalTime returns ParseLocalTime's error.
func (Texts) LocalTime(text string) error {
	_, err := ParseLocalTime(text)
	return err
}

// TimeOfDay returns how long after midnight ParseTimeOfDay's time is.
func (Texts) TimeOfDay(text string) (time.Duration, error) {
	t, err := ParseTimeOfDay(text)
	return time.Duration(t) * time.Minute, err
}

// Cron returns ParseCron's error. A gap or fold rule of no known name is the default.
func (Texts) Cron(line string, zone *time.Location, gap, fold string) error {
	_, err := ParseCron(line, zone, policyOf(gap, fold))
	return err
}

// RRULE returns ParseRRULE's error for a rule that begins at a local time, or that time's. Gap and fold as of Cron.
func (Texts) RRULE(first, rule string, zone *time.Location, gap, fold string) error {
	start, err := ParseLocalTime(first)
	if err == nil {
		_, err = ParseRRULE(start, rule, zone, policyOf(gap, fold))
	}
	return err
}

func policyOf(gap, fold string) (p Policy) {
	p.Gap, _ = ParseGap(gap)
	p.Fold, _ = ParseFold(fold)
	return p
}
