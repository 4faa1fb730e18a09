package snmp

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gosnmp/gosnmp"
)

// maxRepetitions is how many rows one GETBULK asks for: printers have short tables.
const maxRepetitions = 8

// cell is one row's value in one column.
type cell struct {
	index string
	value any
}

// answers are what an agent said: single objects by name, columns by theirs, in the order of their rows.
type answers struct {
	single  map[string]any
	columns map[string][]cell
}

func (a *answers) number(oid string) (int64, bool) { return number(a.single[oid]) }
func (a *answers) text(oid string) string          { return text(a.single[oid]) }

// row is the value with that index in a column, nil if it has none.
func (a *answers) row(column, index string) any {
	for _, c := range a.columns[column] {
		if c.index == index {
			return c.value
		}
	}
	return nil
}

// want is something that is still to be asked for.
type want struct {
	oid    string // the single object, or the column
	next   string // the name after which to ask
	single bool
	rows   int
}

// fetch asks for single objects and whole columns. What the agent does not have is not in the answers. It ends at the
// package's bounds with what there is until then.
func (s *session) fetch(single, columns []string) (*answers, error) {
	a := &answers{single: map[string]any{}, columns: map[string][]cell{}}
	var open []*want
	for _, oid := range single {
		open = append(open, &want{oid: oid, next: before(oid), single: true})
	}
	for _, oid := range columns {
		open = append(open, &want{oid: oid, next: oid})
	}
	volume := 0
	for range MaxExchanges {
		if len(open) == 0 || volume > MaxBytes {
			return a, nil
		}
		asked := open[:min(len(open), s.know.fits)]
		answer, bulk, err := s.next(asked)
		if err != nil {
			return nil, err
		}
		if answer.Error != gosnmp.NoError {
			if culprit := s.refused(answer, len(asked)); culprit >= 0 {
				open = slices.Delete(open, culprit, culprit+1)
			}
			continue
		}
		volume += a.take(answer.Variables, asked, bulk)
		open = slices.DeleteFunc(open, func(w *want) bool { return w.next == "" })
	}
	return a, nil
}

// next asks for what comes after each of the wants: several rows of the columns at once where the agent can do that.
func (s *session) next(asked []*want) (answer *gosnmp.SnmpPacket, bulk bool, err error) {
	names := make([]string, len(asked))
	singles := 0 // they come first
	for i, w := range asked {
		names[i] = w.next
		if w.single {
			singles++
		}
	}
	tables := len(asked) - singles
	bulk = s.agent.Version != gosnmp.Version1 && !s.know.noBulk && tables > 0
	if !bulk {
		answer, err = s.exchange(func() (*gosnmp.SnmpPacket, error) { return s.agent.GetNext(names) })
		return answer, false, err
	}
	rows := min(max((s.know.fits-singles)/tables, 1), maxRepetitions)
	answered := s.fresh
	answer, err = s.exchange(func() (*gosnmp.SnmpPacket, error) { return s.agent.GetBulk(names, uint8(singles), uint32(rows)) })
	if err == nil {
		s.know.bulk = s.know.bulk || answer.Error == gosnmp.NoError
		return answer, true, nil
	}
	if answered && !s.know.bulk && (errors.Is(err, ErrSilent) || errors.Is(err, errMalformed)) {
		// It answered a GET a moment ago and never a GETBULK: there are agents that drop it.
		s.know.noBulk = true
		return s.next(asked)
	}
	return nil, false, err
}

// refused draws the consequences of an error status, and returns the place of the object to give up, or -1 to ask again.
func (s *session) refused(answer *gosnmp.SnmpPacket, asked int) int {
	at := int(answer.ErrorIndex) - 1
	if at >= asked {
		at = -1
	}
	switch {
	case answer.Error == gosnmp.NoSuchName && at >= 0:
		return at // version 1's way to say that the tree ends there
	case answer.Error == gosnmp.GenErr && at >= 0 && (s.know.bulk || s.know.noBulk || s.agent.Version == gosnmp.Version1):
		return at // the agent broke its neck over this one
	case asked == 1 && (s.know.noBulk || s.agent.Version == gosnmp.Version1 || s.know.fits == 1):
		return 0
	case s.know.fits > 1:
		s.know.fits /= 2
	default:
		s.know.noBulk = true
	}
	return -1
}

// take sorts the variables of an answer to what was asked for, moves each want on and ends those that are done. It
// returns the octets that it took.
func (a *answers) take(variables []gosnmp.SnmpPDU, asked []*want, bulk bool) (volume int) {
	singles := 0
	for _, w := range asked {
		if w.single {
			singles++
		}
	}
	tables := len(asked) - singles
	for i, v := range variables {
		var w *want
		switch {
		case i < len(asked):
			w = asked[i]
		case bulk && tables > 0:
			w = asked[singles+(i-singles)%tables]
		default:
			return volume // more than was asked for
		}
		switch {
		case w.next == "": // it was done before this row
		case w.single:
			if v.Name == w.oid && !missing(v) {
				a.single[w.oid] = v.Value
				volume += len(v.Name) + len(octets(v.Value))
			}
			w.next = ""
		default:
			index, inside := under(v.Name, w.oid)
			if !inside || missing(v) || !after(v.Name, w.next) {
				w.next = ""
				continue
			}
			a.columns[w.oid] = append(a.columns[w.oid], cell{index, v.Value})
			volume += len(v.Name) + len(octets(v.Value))
			w.next = v.Name
			if w.rows++; w.rows >= MaxRows {
				w.next = ""
			}
		}
	}
	// An answer that was cut off within its first row leaves the rest to be asked for again, unless there is nothing in it.
	if len(variables) == 0 {
		for _, w := range asked {
			w.next = ""
		}
	}
	return volume
}

// missing reports whether the variable says that there is none.
func missing(v gosnmp.SnmpPDU) bool {
	switch v.Type {
	case gosnmp.NoSuchObject, gosnmp.NoSuchInstance, gosnmp.EndOfMibView, gosnmp.Null:
		return true
	}
	return false
}

// locate finds the printer's hrDeviceIndex, where it is not known, and ErrNotPrinter where there is none.
func (s *session) locate() error {
	if s.know.index != "" {
		return nil
	}
	if s.first {
		s.know.index = "1"
		return nil
	}
	a, err := s.fetch([]string{oidHPID, oidLexmark, oidZebra, oidXerox}, []string{oidDeviceType, oidSerialNumber, oidDeviceID})
	if err != nil {
		return err
	}
	for _, c := range a.columns[oidDeviceType] {
		if kind, _ := c.value.(string); kind == oidTypePrinter && !strings.Contains(c.index, ".") {
			s.know.index = c.index
			return nil
		}
	}
	if rows := a.columns[oidSerialNumber]; len(rows) > 0 && !strings.Contains(rows[0].index, ".") {
		s.know.index = rows[0].index // a row of prtGeneralTable, even with an empty serial number
		return nil
	}
	if !a.deviceID().IsZero() {
		s.know.index = "1"
		return nil
	}
	return fmt.Errorf("%s: %w", s.addr, ErrNotPrinter)
}
