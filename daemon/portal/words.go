package portal

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// duration says how long in at most two units, rounded down: 12 s, 3 min, 2 h 5 min, 3 days.
func duration(d time.Duration) string {
	switch {
	case d < time.Second:
		return "0 s"
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

// age says how long ago in one unit, rounded down: just now, 8 s ago, 3 h ago.
func age(d time.Duration) string {
	switch {
	case d < time.Second:
		return "just now"
	case d >= time.Hour && d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", d/time.Hour)
	}
	return duration(d) + " ago"
}

// size says how many bytes, in powers of ten as the configuration does.
func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value := float64(n)
	for _, unit := range []string{"kB", "MB", "GB"} {
		if value /= 1000; value < 999.95 {
			return fmt.Sprintf("%.1f %s", value, unit)
		}
	}
	return fmt.Sprintf("%.1f TB", value/1000)
}

// count puts thin spaces between thousands: 19 000.
func count(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}

// counted names n things: 1 device, 2 devices.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

// sentence makes an error's text a sentence: upper case at its start, unless that is a mail address, and a full stop.
func sentence(text string) string {
	text = strings.TrimSpace(text)
	first, n := utf8.DecodeRuneInString(text)
	if n == 0 {
		return text
	}
	if !strings.ContainsRune(".!?", rune(text[len(text)-1])) {
		text += "."
	}
	if word, _, _ := strings.Cut(text, " "); strings.Contains(word, "@") {
		return text
	}
	return string(unicode.ToUpper(first)) + text[n:]
}

// moment is a time for people and for machines.
type moment struct{ Text, Machine string }

// at shows t in the site's time: the time alone on the day of now, else the day too. The zero time is empty.
func at(t, now time.Time, zone *time.Location) moment {
	if t.IsZero() {
		return moment{}
	}
	local, today := t.In(zone), now.In(zone)
	layout := "2006-01-02 15:04"
	if local.Year() == today.Year() && local.YearDay() == today.YearDay() {
		layout = "15:04:05"
	}
	return moment{local.Format(layout), t.UTC().Format(time.RFC3339)}
}

// dated shows t with its day always, for what is printed and kept.
func dated(t time.Time, zone *time.Location) moment {
	if t.IsZero() {
		return moment{}
	}
	return moment{t.In(zone).Format("2006-01-02 15:04"), t.UTC().Format(time.RFC3339)}
}
