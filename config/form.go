package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// form is how one scalar is written: for the parser, for its messages and for the schema.
type form[T any] struct {
	yaml    string // string, integer or boolean
	what    string // completes "must be"
	example string // completes "write"
	pattern *regexp.Regexp
	enum    []string
	bounds  *[2]int
	zero    bool                    // a string that may also be the number 0
	parse   func(string) (T, error) // errForm, or "rule; fix"
}

// errForm stands for what every form says of itself: "must be what; write example".
var errForm = errors.New("wrong form")

var (
	decimal = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)
	octal   = regexp.MustCompile(`^0[0-9]+$`)
)

// text gives the scalar's text if YAML and the form agree on its type. A secret may have been put in a wrong place, so
// only what has the right form is ever repeated.
func (f form[T]) text(node ast.Node) (string, error) {
	wrong := f.explain(errForm)
	switch n := node.(type) {
	case *ast.StringNode:
		value, like := booleanLike(n.Value)
		plain := n.Token.Type == token.StringType
		switch {
		case f.yaml == "string" && (!(plain && like) || slices.Contains(f.enum, "off")): // which is one of its own words then
			return n.Value, nil
		case f.yaml == "string":
			return "", fmt.Errorf("is a boolean to some readers of YAML and text to others; write %q in quotes", n.Value)
		case f.yaml == "boolean" && plain && like:
			return "", fmt.Errorf("must be true or false; write %t", value)
		}
		if _, err := f.parse(n.Value); err == nil && !plain {
			return "", fmt.Errorf("must be %s; write %s without quotes", f.what, n.Value)
		}
		return "", wrong
	case *ast.IntegerNode:
		text := n.Token.Value
		switch {
		case f.yaml == "string" && f.zero && text == "0":
			return text, nil
		case f.yaml == "string":
			return "", f.quoted(text)
		case f.yaml == "integer" && octal.MatchString(text):
			return "", fmt.Errorf("looks octal, and readers of YAML differ over it; write %s", strings.TrimLeft(text[:len(text)-1], "0")+text[len(text)-1:])
		case f.yaml == "integer" && decimal.MatchString(text):
			return text, nil
		}
		return "", wrong
	case *ast.BoolNode:
		if text := n.Token.Value; f.yaml == "boolean" && (text == "true" || text == "false") {
			return text, nil
		} else if f.yaml == "string" {
			return "", f.quoted(text)
		}
		return "", wrong
	case *ast.FloatNode:
		if f.yaml == "string" {
			return "", f.quoted(n.Token.Value)
		}
		return "", wrong
	case *ast.LiteralNode:
		return "", errors.New("is a block of lines; write it on one line")
	case *ast.MappingNode, *ast.SequenceNode:
		return "", errors.New("must be a single value; remove the brackets and the keys below")
	}
	return "", wrong
}

// quoted asks for quotes where they are all that is missing.
func (f form[T]) quoted(text string) error {
	if _, err := f.parse(text); err != nil {
		return f.explain(err)
	}
	return fmt.Errorf("must be text; write \"%s\" in quotes", text)
}

// explain gives errForm its words.
func (f form[T]) explain(err error) error {
	if errors.Is(err, errForm) {
		return fmt.Errorf("must be %s; write %s", f.what, f.example)
	}
	return err
}

// matching is a text of one pattern.
func matching(pattern *regexp.Regexp, what, example string) form[string] {
	return form[string]{yaml: "string", what: what, example: example, pattern: pattern, parse: func(s string) (string, error) {
		if !pattern.MatchString(s) {
			return "", errForm
		}
		return s, nil
	}}
}

// orEmpty lets a text be empty.
func orEmpty(f form[string]) form[string] {
	parse := f.parse
	f.what += ", or empty"
	f.pattern = regexp.MustCompile("^$|" + f.pattern.String())
	f.parse = func(s string) (string, error) {
		if s == "" {
			return "", nil
		}
		return parse(s)
	}
	return f
}

// whole is a whole number between two bounds, both included.
func whole(low, high int) form[int] {
	return form[int]{
		yaml: "integer", bounds: &[2]int{low, high},
		what: fmt.Sprintf("a whole number from %d to %d", low, high), example: fmt.Sprintf("digits only, such as %d", max(low, 1)),
		parse: func(s string) (int, error) {
			n, err := strconv.Atoi(s)
			if err != nil || n < low || n > high {
				return 0, errForm
			}
			return n, nil
		},
	}
}

func port() form[uint16] {
	n := whole(1, 65535)
	return form[uint16]{yaml: n.yaml, bounds: n.bounds, what: n.what, example: "a port such as 443", parse: func(s string) (uint16, error) {
		v, err := n.parse(s)
		return uint16(v), err
	}}
}

func boolean() form[bool] {
	return form[bool]{yaml: "boolean", what: "true or false", example: "one of them without quotes", parse: func(s string) (bool, error) {
		if s != "true" && s != "false" {
			return false, errForm
		}
		return s == "true", nil
	}}
}

// enum is one of a few words.
func enum[T ~string](words ...T) form[T] {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	list := strings.Join(texts[:len(texts)-1], ", ") + " or " + texts[len(texts)-1]
	return form[T]{yaml: "string", enum: texts, what: list, example: "one of these words", parse: func(s string) (T, error) {
		if !slices.Contains(texts, s) {
			return "", errForm
		}
		return T(s), nil
	}}
}

// either is a choice between two words, of which the second is true.
func either(no, yes string) form[bool] {
	f := enum(no, yes)
	return form[bool]{yaml: f.yaml, enum: f.enum, what: f.what, example: f.example, parse: func(s string) (bool, error) {
		word, err := f.parse(s)
		return word == yes, err
	}}
}
