package api

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// member is a field of a document with the rules in its tags.
type member struct {
	name     string
	index    []int
	required bool
	enum     []string
	least    *float64
	most     *float64
	shortest int
	longest  int // of a text, in characters
	items    int // of a list
}

// layouts are the members of the types that were met.
type layouts map[reflect.Type][]member

// The bounds of what has none in its tags.
const (
	maxLongest = 1024
	maxItems   = 200_000
)

func (l layouts) of(t reflect.Type) []member {
	if list, ok := l[t]; ok {
		return list
	}
	var list []member
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" || !f.IsExported() {
			continue
		}
		m := member{name: name, index: f.Index, longest: maxLongest, items: maxItems,
			required: !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero")}
		if text := f.Tag.Get("enum"); text != "" {
			m.enum = strings.Split(text, ",")
		}
		number := func(tag string) (float64, bool) {
			v, err := strconv.ParseFloat(f.Tag.Get(tag), 64)
			return v, err == nil
		}
		if v, ok := number("minimum"); ok {
			m.least = &v
		}
		if v, ok := number("maximum"); ok {
			m.most = &v
		}
		if v, ok := number("minLength"); ok {
			m.shortest = int(v)
		}
		if v, ok := number("maxLength"); ok {
			m.longest = int(v)
		}
		if v, ok := number("maxItems"); ok {
			m.items = int(v)
		}
		list = append(list, m)
	}
	l[t] = list
	return list
}

var (
	timeType        = reflect.TypeFor[time.Time]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// leaf reports whether a type reads itself.
func leaf(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(jsonUnmarshaler) || p.Implements(textUnmarshaler)
}

// tags holds a value against the rules in the tags of its type.
func (c *checker) tags(p *place, v reflect.Value, m *member) {
	switch {
	case v.Kind() == reflect.Pointer:
		if !v.IsNil() {
			c.tags(p, v.Elem(), m)
		}
	case v.Type() == timeType:
		c.instant(p, v.Interface().(time.Time), m)
	case v.Kind() == reflect.Struct:
		for _, f := range c.layout.of(v.Type()) {
			c.tags(p.field(f.name), v.FieldByIndex(f.index), &f)
		}
	case v.Kind() == reflect.Slice:
		c.list(p, v, m)
	case v.Kind() == reflect.Map:
		if v.Len() > maxItems {
			c.add(p, "has %d members; at most %d are read", v.Len(), maxItems)
			return
		}
		for _, key := range sortedKeys(v) {
			c.tags(p.field(key), v.MapIndex(reflect.ValueOf(key)), &member{longest: maxLongest, items: maxItems})
		}
	case v.Kind() == reflect.String:
		c.text(p, v.String(), m)
	case v.CanInt() && !leaf(v.Type()):
		c.number(p, float64(v.Int()), m)
	case v.CanFloat():
		c.number(p, v.Float(), m)
	}
}

func sortedKeys(v reflect.Value) []string {
	keys := make([]string, 0, v.Len())
	for _, k := range v.MapKeys() {
		keys = append(keys, k.String())
	}
	slices.Sort(keys)
	return keys
}

func (c *checker) list(p *place, v reflect.Value, m *member) {
	if v.Len() > m.items {
		c.add(p, "has %d items; at most %d are read", v.Len(), m.items)
		return
	}
	item := member{longest: m.longest, items: maxItems, shortest: m.shortest}
	for i := range v.Len() {
		c.tags(p.at(i), v.Index(i), &item)
	}
}

func (c *checker) text(p *place, s string, m *member) {
	n := utf8.RuneCountInString(s)
	switch {
	case s == "" && m.shortest == 0 && !m.required:
	case n < m.shortest:
		c.add(p, "is empty; write a text")
	case n > m.longest:
		c.add(p, "has %d characters; at most %d are read", n, m.longest)
	case len(m.enum) > 0 && !slices.Contains(m.enum, s):
		c.add(p, "must be %s", anyOf(m.enum))
	}
}

func anyOf(list []string) string {
	if n := len(list); n > 1 {
		return strings.Join(list[:n-1], ", ") + " or " + list[n-1]
	}
	return strings.Join(list, "")
}

func (c *checker) number(p *place, v float64, m *member) {
	low, high := m.least != nil && v < *m.least, m.most != nil && !(v <= *m.most)
	switch {
	case !low && !high:
	case m.least != nil && m.most != nil:
		c.add(p, "must be %s to %s", plain(*m.least), plain(*m.most))
	case low:
		c.add(p, "must be %s or more", plain(*m.least))
	default:
		c.add(p, "must be %s or less", plain(*m.most))
	}
}

func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// Years that no clock that is set shows are refused: they come of zero values and of overflows.
const firstYear, lastYear = 1970, 2100

func (c *checker) instant(p *place, t time.Time, m *member) {
	if t.IsZero() && !m.required {
		return
	}
	if y := t.UTC().Year(); y < firstYear || y > lastYear {
		c.add(p, "is in the year %d; must be in %d to %d", y, firstYear, lastYear)
	}
}

// kind names what a type is in JSON, for people.
func kind(t reflect.Type) string {
	switch {
	case t == timeType:
		return `a time in RFC 3339, such as "2026-12-02T01:00:00Z"`
	case t == reflect.TypeFor[Duration]():
		return `a duration in ISO 8601, such as "PT5M"`
	}
	switch t.Kind() {
	case reflect.Pointer:
		return kind(t.Elem())
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice:
		return "a list"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Float64:
		return "a number"
	}
	return "a whole number"
}
