package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Shift is a duration with a direction: ISO 8601, with a sign before it if it leads to an earlier time (-PT35M).
type Shift time.Duration

// MarshalText writes the shift as UnmarshalText reads it.
func (s Shift) MarshalText() ([]byte, error) {
	if s < 0 {
		return []byte("-" + Duration(-s).String()), nil
	}
	return []byte(Duration(s).String()), nil
}

// UnmarshalText reads what ParseDuration reads, with or without a sign. Any error is ErrDuration.
func (s *Shift) UnmarshalText(text []byte) error {
	unsigned, earlier := strings.CutPrefix(string(text), "-")
	d, err := ParseDuration(strings.TrimPrefix(unsigned, "+"))
	if err != nil {
		return err
	}
	*s = Shift(d)
	if earlier {
		*s = -*s
	}
	return nil
}

// Version names one state of a document: its entity tag without the quotes. It is written as text; a number is read too.
type Version string

// UnmarshalJSON reads a text or a number.
func (v *Version) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*v = Version(text)
		return nil
	}
	var number json.Number
	if err := json.Unmarshal(data, &number); err != nil {
		return errors.New("a version is a text or a number")
	}
	*v = Version(number)
	return nil
}

// All is the word for every member, where a list may stand as well.
const All = "all"

// DeviceSelector is a list of device ids, or the word all.
type DeviceSelector []string

// Every reports whether it is the word all.
func (s DeviceSelector) Every() bool { return len(s) == 1 && s[0] == All }

// MarshalJSON writes the word, or the list.
func (s DeviceSelector) MarshalJSON() ([]byte, error) { return writeSelection(s, s.Every()) }

// UnmarshalJSON reads the word, or a list.
func (s *DeviceSelector) UnmarshalJSON(data []byte) (err error) {
	*s, err = readSelection(data)
	return err
}

// AcceptList is a list of change ids, or the word all.
type AcceptList []string

// Every reports whether it is the word all.
func (a AcceptList) Every() bool { return len(a) == 1 && a[0] == All }

// MarshalJSON writes the word, or the list.
func (a AcceptList) MarshalJSON() ([]byte, error) { return writeSelection(a, a.Every()) }

// UnmarshalJSON reads the word, or a list.
func (a *AcceptList) UnmarshalJSON(data []byte) (err error) {
	*a, err = readSelection(data)
	return err
}

func writeSelection(ids []string, every bool) ([]byte, error) {
	if every {
		return json.Marshal(All)
	}
	return json.Marshal(ids)
}

func readSelection(data []byte) ([]string, error) {
	var word string
	if json.Unmarshal(data, &word) == nil {
		if word != All {
			return nil, fmt.Errorf("%q: must be %q or a list of ids", clip(word), All)
		}
		return []string{All}, nil
	}
	var ids []string
	if err := json.Unmarshal(data, &ids); err != nil {
		return nil, fmt.Errorf("must be %q or a list of ids", All)
	}
	return ids, nil
}
