package console

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// moment is a time for people and for machines.
type moment struct{ Text, Ago, Machine string }

// at shows t in UTC, since an operator's gateways stand in many zones, and how long ago it was. The zero time is empty.
func at(t, now time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	m := moment{Text: t.UTC().Format("2006-01-02 15:04"), Machine: t.UTC().Format(time.RFC3339)}
	if since := now.Sub(t); since >= 0 {
		m.Ago = ago(since)
	} else if since < -time.Minute {
		m.Ago = "in the future"
	} else {
		m.Ago = "just now"
	}
	return m
}

func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", d/time.Hour)
	default:
		return fmt.Sprintf("%s days ago", count(int64(d/(24*time.Hour))))
	}
}

// count puts thin spaces between thousands: 19 000.
func count(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}

// mark is a word with its colour and the sign that says the same without it.
type mark struct{ Class, Sign, Word string }

func stateOf(state string) mark {
	switch state {
	case "online":
		return mark{"good", "●", "Online"}
	case "offline":
		return mark{"bad", "✕", "Offline"}
	case "known":
		return mark{"quiet", "○", "Not seen yet"}
	case "":
		return mark{"quiet", "○", "Not told"}
	default:
		return mark{"quiet", "○", sentence(spaced(state))}
	}
}

func severityOf(severity string) mark {
	switch severity {
	case "error":
		return mark{"bad", "✕", "Error"}
	case "warning":
		return mark{"warn", "▲", "Warning"}
	default:
		return mark{"quiet", "●", "Notice"}
	}
}

// reasonOf is a keyword of printer-state-reasons for people: media-jam-error becomes an error "Media jam".
func reasonOf(keyword string) mark {
	for _, severity := range []string{"error", "warning", "report"} {
		if word, ok := strings.CutSuffix(keyword, "-"+severity); ok {
			m := severityOf(severity)
			m.Word = sentence(spaced(word))
			return m
		}
	}
	return mark{"warn", "▲", sentence(spaced(keyword))}
}

func spaced(keyword string) string { return strings.ReplaceAll(keyword, "-", " ") }

// hump is where a keyword of the Printer MIB begins its next word: wasteToner.
var hump = regexp.MustCompile(`([a-z])([A-Z])`)

func kindOf(supply string) string {
	return strings.ToLower(hump.ReplaceAllString(spaced(supply), "$1 $2"))
}

// sentence begins with a capital.
func sentence(text string) string {
	first, n := utf8.DecodeRuneInString(text)
	if n == 0 {
		return text
	}
	return string(unicode.ToUpper(first)) + text[n:]
}

// level is a supply as a bar.
type level struct {
	Name, Label, Type string
	Color             string // a class of the style sheet
	Known             bool
	Percent           int
	Text              string
	Bad               bool // nearly empty, or nearly full where it receives
	Receives          bool
}

// The shares, in per cent, at which a supply needs a person.
const (
	nearlyEmpty = 10
	nearlyFull  = 90
)

func levelOf(s api.Supply) level {
	l := level{Name: s.Name, Label: s.Name, Type: kindOf(s.Type), Color: "other", Receives: s.Receives}
	switch color := strings.ToLower(s.Color); color {
	case "black", "cyan", "magenta", "yellow":
		l.Color = color
		if !s.Receives {
			l.Label = sentence(color)
		}
	}
	if s.Receives {
		l.Color = "receives"
	}
	if l.Label == "" {
		l.Label = sentence(l.Type)
	}
	root := s.Root()
	l.Percent, l.Known = root.Percent()
	switch {
	case l.Known:
		l.Text = strconv.Itoa(l.Percent) + "\u00a0%"
		l.Bad = s.Receives && l.Percent >= nearlyFull || !s.Receives && l.Percent <= nearlyEmpty
	case s.Level == -3 && s.Receives:
		l.Text = "not full"
	case s.Level == -3:
		l.Text = "some left"
	default:
		l.Text = "not known"
	}
	return l
}
