package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// kind is what may stand at one place, bound to the variable that it fills.
type kind interface {
	fill()                                     // sets the default
	read(r *reader, key string, node ast.Node) // sets what the file says, or reports why not
	schema() schema
	differs(other kind) bool // other is the same kind, bound to another Config
}

// key is one row of the table.
type key struct {
	name, about     string
	kind            kind
	required, fixed bool
}

func must(name, about string, k kind) key {
	return key{name: name, about: about, kind: k, required: true}
}
func may(name, about string, k kind) key { return key{name: name, about: about, kind: k} }

func (k key) restart() key {
	k.fixed = true
	return k
}

// object is a mapping with these keys and no others.
type object []key

func (o object) fill() {
	for _, k := range o {
		k.kind.fill()
	}
}

func (o object) read(r *reader, at string, node ast.Node) {
	m, ok := node.(*ast.MappingNode)
	if !ok {
		r.fail(at, "must be a mapping; write keys below it, such as %s:", o[0].name)
		return
	}
	found := map[string]place{}
	for _, v := range m.Values {
		name, pos := v.Key.GetToken().Value, placeOf(v.Key)
		full := join(at, name)
		if first, twice := found[name]; twice {
			r.failAt(pos, full, "is written twice; keep one, the first is in line %d", first.line)
			continue
		}
		found[name] = pos
		k := o.find(name)
		if k == nil {
			r.failAt(pos, full, "unknown key; %s", o.suggest(name))
			continue
		}
		r.seen[full] = pos
		if v.Value.Type() == ast.NullType {
			r.failAt(pos, full, "has no value; write one or remove the key")
			continue
		}
		// A missing key below is reported at the parent's key, a bad value at the value.
		r.values[full] = placeOf(v.Value)
		k.kind.read(r, full, v.Value)
	}
	for _, k := range o {
		if _, ok := found[k.name]; k.required && !ok {
			r.failAt(r.seen[at], join(at, k.name), "is required; add %s: %s", k.name, k.about)
		}
	}
}

func (o object) find(name string) *key {
	for i := range o {
		if o[i].name == name {
			return &o[i]
		}
	}
	return nil
}

func (o object) differs(other kind) bool { return len(o.changes(other.(object), "", false)) > 0 }

// list is a sequence of one kind of item.
type list[T any] struct {
	to         *[]T
	least, max int
	item       func(*T) kind
	def        []string
}

// each is a list of mappings.
func each[T any](to *[]T, most int, item func(*T) kind) list[T] {
	return list[T]{to: to, max: most, item: item}
}

// many is a list of scalars.
func many[T any](to *[]T, least, most int, f form[T]) list[T] {
	return list[T]{to: to, least: least, max: most, item: func(t *T) kind { return one(t, f) }}
}

func (l list[T]) min(n int) list[T] {
	l.least = n
	return l
}

func (l list[T]) or(texts ...string) list[T] {
	l.def = texts
	return l
}

func (l list[T]) fill() {
	*l.to = nil
	for _, text := range l.def {
		var v T
		scalar := l.item(&v).(scalar[T]).or(text)
		scalar.fill()
		*l.to = append(*l.to, v)
	}
}

func (l list[T]) read(r *reader, at string, node ast.Node) {
	s, ok := node.(*ast.SequenceNode)
	switch {
	case !ok:
		r.fail(at, "must be a list; write [first, second], or one line per item beginning with a hyphen")
		return
	case len(s.Values) < l.least:
		r.fail(at, "must have at least %d item; add one", l.least)
		return
	case len(s.Values) > l.max:
		r.fail(at, "must have at most %d items; it has %d", l.max, len(s.Values))
		return
	}
	items := make([]T, len(s.Values))
	for i, value := range s.Values {
		here := fmt.Sprintf("%s[%d]", at, i)
		r.seen[here], r.values[here] = placeOf(value), placeOf(value)
		k := l.item(&items[i])
		k.fill()
		if value.Type() == ast.NullType {
			r.fail(here, "has no value; write one or remove the item")
			continue
		}
		k.read(r, here, value)
	}
	*l.to = items
}

func (l list[T]) differs(other kind) bool { return !reflect.DeepEqual(*l.to, *other.(list[T]).to) }

// scalar is one value of a form.
type scalar[T any] struct {
	to   *T
	form form[T]
	def  *string
}

func one[T any](to *T, f form[T]) scalar[T] { return scalar[T]{to: to, form: f} }

func (s scalar[T]) or(text string) scalar[T] {
	s.def = &text
	return s
}

// fill sets the default; TestDefaults proves that each parses.
func (s scalar[T]) fill() {
	var v T
	if s.def != nil {
		v, _ = s.form.parse(*s.def)
	}
	*s.to = v
}

func (s scalar[T]) read(r *reader, at string, node ast.Node) {
	text, err := s.form.text(node)
	if err == nil {
		var v T
		if v, err = s.form.parse(text); err == nil {
			*s.to = v
			return
		}
	}
	r.fail(at, "%s", s.form.explain(err))
}

func (s scalar[T]) differs(other kind) bool { return !reflect.DeepEqual(*s.to, *other.(scalar[T]).to) }

// suggest names the key that was meant, or all that there are.
func (o object) suggest(name string) string {
	best, distance := "", 3
	names := make([]string, len(o))
	for i, k := range o {
		names[i] = k.name
		if d := edits(strings.ToLower(name), k.name); d < distance && d < len(k.name) {
			best, distance = k.name, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	return "known here: " + strings.Join(names, ", ")
}

// edits is the Levenshtein distance, or 99 for texts that are too long to be slips.
func edits(a, b string) int {
	if len(a) > 32 {
		return 99
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
