package api

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ErrDuration is returned for a text that is no ISO 8601 duration this API accepts.
var ErrDuration = errors.New("not an ISO 8601 duration of days, hours, minutes and seconds, such as PT13H or PT0.5S")

// Duration is an ISO 8601 duration (PT5M, PT13H). Years, months and weeks are refused: their length depends on the
// calendar. A day is 24 hours, as XML Schema's dayTimeDuration has it. Negative durations are refused.
type Duration time.Duration

// grammar leaves the rule "at least one part" to ParseDuration.
var grammar = regexp.MustCompile(`^P(?:(\d{1,9})D)?(T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})(?:\.(\d{1,9}))?S)?)?$`)

// ParseDuration reads an ISO 8601 duration. Any error is ErrDuration.
func ParseDuration(s string) (Duration, error) {
	bad := fmt.Errorf("%q: %w", clip(s), ErrDuration)
	if len(s) > 64 || strings.HasSuffix(s, "P") || strings.HasSuffix(s, "T") {
		return 0, bad
	}
	m := grammar.FindStringSubmatch(s)
	if m == nil {
		return 0, bad
	}
	var total time.Duration
	for i, unit := range map[int]time.Duration{1: 24 * time.Hour, 3: time.Hour, 4: time.Minute, 5: time.Second} {
		if m[i] == "" {
			continue
		}
		n, err := strconv.ParseInt(m[i], 10, 64)
		if err != nil || n > int64(math.MaxInt64/4/unit) {
			return 0, bad
		}
		total += time.Duration(n) * unit
	}
	if m[6] != "" {
		n, err := strconv.ParseInt((m[6] + "000000000")[:9], 10, 64)
		if err != nil {
			return 0, bad
		}
		total += time.Duration(n)
	}
	if total < 0 {
		return 0, bad
	}
	return Duration(total), nil
}

// String writes the shortest form in hours, minutes and seconds; zero is PT0S.
func (d Duration) String() string {
	if d <= 0 {
		return "PT0S"
	}
	var b strings.Builder
	b.WriteString("PT")
	rest := time.Duration(d)
	if h := rest / time.Hour; h > 0 {
		fmt.Fprintf(&b, "%dH", h)
	}
	rest %= time.Hour
	if m := rest / time.Minute; m > 0 {
		fmt.Fprintf(&b, "%dM", m)
	}
	rest %= time.Minute
	if rest > 0 {
		s := fmt.Sprintf("%d.%09d", rest/time.Second, rest%time.Second)
		b.WriteString(strings.TrimSuffix(strings.TrimRight(s, "0"), ".") + "S")
	}
	return b.String()
}

// MarshalText writes String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = v
	return nil
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64]
	}
	return s
}
