package calendar

import (
	"errors"
	"fmt"
	"time"
	_ "time/tzdata" // the fallback for systems without tzdata, as containers are
)

// ErrZone is returned for a zone name that is neither UTC nor in the IANA database.
var ErrZone = errors.New("unknown time zone")

// ParseZone loads an IANA zone ("Europe/Berlin") or "UTC". The empty name and "Local" are refused, because both would make
// a schedule depend on the machine it is read on.
func ParseZone(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, fmt.Errorf("%w %q; write an IANA name such as \"Europe/Berlin\" or \"UTC\"", ErrZone, name)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%w %.64q; write an IANA name such as \"Europe/Berlin\" or \"UTC\"", ErrZone, name)
	}
	return loc, nil
}

// span is a stretch of time during which the zone's offset is one: start <= u < end in Unix seconds.
type span struct {
	start, end int64
	offset     int64 // seconds east of UTC
}

// No bound of a zone lies beyond these, and sums with offsets do not overflow.
const (
	distantPast   = -1 << 56
	distantFuture = 1 << 56
)

// spanAt returns the span that holds u. It is not joined with neighbours of equal offset.
func spanAt(loc *time.Location, u int64) span {
	t := time.Unix(u, 0).In(loc)
	_, offset := t.Zone()
	s := span{start: distantPast, end: distantFuture, offset: int64(offset)}
	start, end := t.ZoneBounds()
	if !start.IsZero() {
		s.start = start.Unix()
	}
	if !end.IsZero() {
		s.end = end.Unix()
	}
	if s.end <= u {
		// Past the zone's listed changes Go ends the last span of a year after 365 days, so on 31 December of a leap year the
		// bound lies in the past (time.tzset, Go 1.26). That span lasts until the year ends in UTC.
		year, _, _ := dateOf(floorDiv(u, daySeconds))
		s.end = dayOf(year+1, 1, 1) * daySeconds
	}
	return s
}
