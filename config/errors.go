package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Error is one thing wrong with the file, in words for the administrator.
type Error struct {
	File         string
	Line, Column int    // from 1; columns count characters
	Key          string // dotted path such as relay.allow[0].host; "yaml" when the text itself is at fault
	Rule         string
	Fix          string
}

// Error prints "file:line:column: key: rule; fix".
func (e Error) Error() string {
	s := fmt.Sprintf("%s:%d:%d: %s: %s", e.File, e.Line, e.Column, e.Key, e.Rule)
	if e.Fix != "" {
		s += "; " + e.Fix
	}
	return s
}

// Errors is all that is wrong with a file, in file order, never empty. Mistakes in the text itself (key "yaml") hide the
// others, because nothing behind them can be read with certainty.
type Errors []Error

// Error prints one problem per line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

type place struct{ line, column int }

// reader is one read of one file: where everything stands, and what is wrong so far.
type reader struct {
	file   string
	look   Lookups
	seen   map[string]place // each key that the file has, good or bad; an item of a list stands at its value
	values map[string]place
	bad    map[string]bool // each key at or below which something is wrong
	errs   Errors
}

func (r *reader) has(key string) bool {
	_, ok := r.seen[key]
	return ok
}

// fail reports at the value of key, else at the key. The text is "rule; fix", as errors of mfpgate and calendar are.
func (r *reader) fail(key, format string, args ...any) {
	pos, ok := r.values[key]
	if !ok {
		pos = r.seen[key]
	}
	r.failAt(pos, key, format, args...)
}

func (r *reader) failAt(pos place, key, format string, args ...any) {
	if pos.line == 0 { // nothing of key's is in the file
		pos = place{1, 1}
	}
	rule, fix, _ := strings.Cut(fmt.Sprintf(format, args...), "; ")
	r.errs = append(r.errs, Error{r.file, pos.line, pos.column, key, rule, fix})
	for r.bad[key] = true; strings.ContainsAny(key, ".["); r.bad[key] = true {
		key = key[:strings.LastIndexAny(key, ".[")]
	}
}

// good reports whether nothing was found wrong at or below key.
func (r *reader) good(key string) bool { return !r.bad[key] }

func (r *reader) sorted() Errors {
	slices.SortStableFunc(r.errs, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return r.errs
}

var plainName = regexp.MustCompile(`^[\w-]{1,40}$`)

// join makes a dotted path. A name that no key can have is quoted and cut, so that it cannot break the line it is printed in.
func join(parent, name string) string {
	if !plainName.MatchString(name) {
		name = fmt.Sprintf("%.40q", name)
	}
	if parent == "" {
		return name
	}
	return parent + "." + name
}
