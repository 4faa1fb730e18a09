package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds far above what the format needs. goccy/go-yaml's parser recurses with the depth, and its time grows with the square
// of the depth, of the keys in one mapping and of the empty items (105000 keys took 92 s), so they are kept on its tokens,
// before it runs.
const (
	maxDepth = 16
	maxKeys  = 1000
	maxEmpty = 1000
)

// block is an open block collection.
type block struct{ column, keys int }

// document returns the one mapping that the file is, or reports why there is none.
func (r *reader) document(src []byte) *ast.MappingNode {
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	r.characters(src)
	if len(r.errs) > 0 {
		return nil
	}
	file, err := r.parse(string(src))
	if len(r.errs) > 0 {
		return nil
	}
	var bad yaml.Error
	switch {
	case errors.As(err, &bad) && bad.GetToken() != nil:
		r.failAt(placeAt(bad.GetToken()), "yaml", "is not well-formed, %s; check indentation, brackets and quotes here and just before", bad.GetMessage())
	case err != nil:
		r.failAt(place{1, 1}, "yaml", "is not well-formed; check indentation, brackets and quotes")
	case len(file.Docs) == 0 || file.Docs[0].Body == nil || file.Docs[0].Body.Type() == ast.NullType:
		r.failAt(place{1, 1}, "yaml", "is empty; write at least site, state_dir, relay.clients and relay.allow")
	default:
		if root, ok := file.Docs[0].Body.(*ast.MappingNode); ok {
			r.seen[""] = placeOf(root)
			return root
		}
		r.failAt(placeOf(file.Docs[0].Body), "yaml", "must be a mapping; write keys at the left margin, such as site:")
	}
	return nil
}

// characters refuses what has no place in a text that people edit.
func (r *reader) characters(src []byte) {
	if len(src) > MaxSize {
		r.failAt(place{1, 1}, "yaml", "is larger than 1 MiB; name the configuration file")
		return
	}
	line := 0
	for text := range bytes.Lines(src) {
		line++
		if indent := text[:len(text)-len(bytes.TrimLeft(text, " \t"))]; bytes.IndexByte(indent, '\t') >= 0 {
			r.failAt(place{line, bytes.IndexByte(indent, '\t') + 1}, "yaml", "is indented with a tab; use spaces")
		}
		text = bytes.TrimRight(text, "\r\n")
		for column := 1; len(text) > 0; column++ {
			c, size := utf8.DecodeRune(text)
			switch {
			case c == utf8.RuneError && size == 1:
				r.failAt(place{line, column}, "yaml", "is not UTF-8; save the file as UTF-8")
				return
			case c < ' ' && c != '\t', c == 0x7f, c == '\u0085', c == '\u2028', c == '\u2029':
				r.failAt(place{line, column}, "yaml", "has the control character %U; remove it", c)
				return
			}
			text = text[size:]
		}
	}
}

// parse reads the tokens, reports those that the format does not take, and builds the tree if there are none.
func (r *reader) parse(src string) (file *ast.File, err error) {
	// The library is fuzzed, and so are we; a panic that both missed is still no reason to lose a running gateway on reload.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("parse yaml: %v", p)
		}
	}()
	tokens := lexer.Tokenize(src)
	r.tokens(tokens)
	if len(r.errs) > 0 {
		return nil, nil
	}
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

func (r *reader) tokens(tokens token.Tokens) {
	flow, empty, started := 0, 0, false
	var blocks []block
	for i, t := range tokens {
		refuse := func(format string, args ...any) { r.failAt(placeAt(t), "yaml", format, args...) }
		switch t.Type {
		case token.AnchorType:
			refuse("has an anchor (&); write the value out where it is needed")
		case token.AliasType:
			refuse("has an alias (*); write the value out, or quote a text that begins with *")
		case token.MergeKeyType:
			refuse("has a merge key (<<); write the keys out")
		case token.TagType:
			refuse("has a tag (!); remove it, or quote a text that begins with !")
		case token.DirectiveType:
			refuse("has a directive (%%); remove the line")
		case token.MappingKeyType:
			refuse("has a complex key (?); write key: value")
		case token.DocumentHeaderType, token.DocumentEndType:
			if started {
				refuse("is split into several documents; keep one and remove the line %s", t.Value)
			}
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			if flow--; flow < 0 {
				refuse("closes a bracket that is not open; remove it or open it before")
				return
			}
		case token.SequenceEntryType, token.MappingValueType:
			if flow > 0 || i == 0 && t.Type == token.MappingValueType {
				break
			}
			column := t.Position.Column
			if t.Type == token.MappingValueType {
				column = tokens[i-1].Position.Column
			} else if i > 0 && tokens[i-1].Type == token.SequenceEntryType {
				empty++
			}
			for len(blocks) > 0 && blocks[len(blocks)-1].column > column {
				blocks = blocks[:len(blocks)-1]
			}
			if len(blocks) == 0 || blocks[len(blocks)-1].column < column {
				blocks = append(blocks, block{column: column})
			}
			if t.Type == token.MappingValueType {
				blocks[len(blocks)-1].keys++
			}
		}
		if len(blocks) > 0 && blocks[len(blocks)-1].keys > maxKeys || empty > maxEmpty {
			refuse("has too many keys or empty items; see the shipped example")
			return
		}
		if len(blocks)+flow > maxDepth {
			refuse("is nested more than %d deep; see the shipped example", maxDepth)
			return
		}
		started = started || t.Type != token.CommentType
	}
}

func placeAt(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{1, 1}
	}
	return place{max(t.Position.Line, 1), max(t.Position.Column, 1)}
}

// placeOf is where a reader sees the node begin; the library puts a block mapping at its first colon.
func placeOf(n ast.Node) place {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return placeOf(m.Values[0].Key)
	}
	return placeAt(n.GetToken())
}

// booleanLike are the plain words that YAML 1.1 takes for booleans and YAML 1.2 for text.
func booleanLike(word string) (value, ok bool) {
	switch strings.ToLower(word) {
	case "yes", "on", "y":
		return true, true
	case "no", "off", "n":
		return false, true
	}
	return false, false
}
