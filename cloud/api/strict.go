package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// maxDepth is how deep a document may be nested.
const maxDepth = 64

// strict reads a document into a value and tells of everything that does not fit its type: what is missing, what is of another
// kind, what is given twice. Fields that are not known are passed over. encoding/json stops at the first fault and knows of no
// required field.
type strict struct {
	*checker
	in   *json.Decoder
	stop bool // it is no JSON; what follows would be noise
}

// read reads data into the value that to points to. What it returns holds the checker's faults as well.
func (c *checker) read(data []byte, to any) {
	s := &strict{checker: c, in: json.NewDecoder(bytes.NewReader(data))}
	s.in.UseNumber()
	s.value(nil, reflect.ValueOf(to).Elem(), 0, false)
	if s.stop {
		return
	}
	if _, err := s.in.Token(); !errors.Is(err, io.EOF) {
		s.add(nil, "goes on after its end, at byte %d", s.in.InputOffset())
	}
}

// broken tells of text that is no JSON.
func (s *strict) broken(p *place, err error) {
	if s.stop {
		return
	}
	s.stop = true
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("it ends too early")
	}
	s.add(p, "is not JSON: %v, at byte %d", err, s.in.InputOffset())
}

// value reads the next value, and reports whether it is a null that may stand there.
func (s *strict) value(p *place, v reflect.Value, depth int, optional bool) (null bool) {
	if depth > maxDepth {
		s.broken(p, fmt.Errorf("nested deeper than %d", maxDepth))
		return false
	}
	if v.Kind() == reflect.Pointer {
		to := reflect.New(v.Type().Elem())
		if null = s.value(p, to.Elem(), depth, optional); !null {
			v.Set(to)
		}
		return null
	}
	optional = optional || v.Kind() == reflect.Slice || v.Kind() == reflect.Map
	if leaf(v.Type()) {
		return s.leaf(p, v, optional)
	}
	token, err := s.in.Token()
	if err != nil {
		s.broken(p, err)
		return false
	}
	switch {
	case token == nil && optional:
		return true
	case token == json.Delim('{') && v.Kind() == reflect.Struct:
		s.object(p, v, depth)
	case token == json.Delim('{') && v.Kind() == reflect.Map:
		s.table(p, v, depth)
	case token == json.Delim('[') && v.Kind() == reflect.Slice:
		s.array(p, v, depth)
	default:
		s.scalar(p, v, token)
	}
	return false
}

func (s *strict) scalar(p *place, v reflect.Value, token json.Token) {
	switch t := token.(type) {
	case string:
		if v.Kind() == reflect.String {
			v.SetString(t)
			return
		}
	case bool:
		if v.Kind() == reflect.Bool {
			v.SetBool(t)
			return
		}
	case json.Number:
		switch {
		case v.CanInt() || v.CanUint():
			if json.Unmarshal([]byte(t), v.Addr().Interface()) == nil {
				return
			}
		case v.CanFloat():
			if f, err := t.Float64(); err == nil {
				v.SetFloat(f)
				return
			}
		}
	}
	s.mismatch(p, v, token)
}

// mismatch tells of a value of another kind and passes over the rest of it.
func (s *strict) mismatch(p *place, v reflect.Value, token json.Token) {
	s.add(p, "must be %s", kind(v.Type()))
	if token == json.Delim('{') || token == json.Delim('[') {
		s.skip(1)
	}
}

// skip passes over tokens until as many brackets as are open are closed.
func (s *strict) skip(open int) {
	for !s.stop {
		token, err := s.in.Token()
		if err != nil {
			s.broken(nil, err)
			return
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			open++
		case json.Delim('}'), json.Delim(']'):
			open--
		}
		if open == 0 {
			return
		}
	}
}

func (s *strict) leaf(p *place, v reflect.Value, optional bool) (null bool) {
	var raw json.RawMessage
	if err := s.in.Decode(&raw); err != nil {
		s.broken(p, err)
		return false
	}
	if string(raw) == "null" {
		if !optional {
			s.add(p, "is null; must be %s", kind(v.Type()))
		}
		return true
	}
	err := json.Unmarshal(raw, v.Addr().Interface())
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
	case v.Type() == timeType || errors.As(err, &wrong) || errors.Is(err, ErrDuration):
		s.add(p, "must be %s", kind(v.Type()))
	default:
		s.add(p, "%v", err)
	}
	return false
}

func (s *strict) object(p *place, v reflect.Value, depth int) {
	members := s.layout.of(v.Type())
	seen := make([]bool, len(members))
	for !s.stop && s.in.More() {
		token, err := s.in.Token()
		if err != nil {
			s.broken(p, err)
			return
		}
		name, _ := token.(string)
		i := indexOf(members, name)
		if i < 0 {
			s.unknown()
			continue
		}
		if seen[i] {
			s.add(p.field(name), "is given twice")
		}
		seen[i] = true
		field := v.FieldByIndex(members[i].index)
		s.value(p.field(name), field, depth+1, !members[i].required)
	}
	s.end(p)
	for i, m := range members {
		if m.required && !seen[i] && !s.stop {
			s.add(p.field(m.name), "is missing; must be %s", kind(v.FieldByIndex(m.index).Type()))
		}
	}
}

func indexOf(members []member, name string) int {
	for i := range members {
		if members[i].name == name {
			return i
		}
	}
	return -1
}

// unknown passes over a value.
func (s *strict) unknown() {
	token, err := s.in.Token()
	if err != nil {
		s.broken(nil, err)
		return
	}
	if token == json.Delim('{') || token == json.Delim('[') {
		s.skip(1)
	}
}

func (s *strict) table(p *place, v reflect.Value, depth int) {
	v.Set(reflect.MakeMap(v.Type()))
	for !s.stop && s.in.More() {
		token, err := s.in.Token()
		if err != nil {
			s.broken(p, err)
			return
		}
		name, _ := token.(string)
		key, item := reflect.ValueOf(name), reflect.New(v.Type().Elem()).Elem()
		if v.MapIndex(key).IsValid() {
			s.add(p.field(name), "is given twice")
		}
		s.value(p.field(name), item, depth+1, false)
		v.SetMapIndex(key, item)
	}
	s.end(p)
}

func (s *strict) array(p *place, v reflect.Value, depth int) {
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	for i := 0; !s.stop && s.in.More(); i++ {
		item := reflect.New(v.Type().Elem()).Elem()
		s.value(p.at(i), item, depth+1, false)
		v.Set(reflect.Append(v, item))
	}
	s.end(p)
}

// end reads the closing bracket.
func (s *strict) end(p *place) {
	if s.stop {
		return
	}
	if _, err := s.in.Token(); err != nil {
		s.broken(p, err)
	}
}
