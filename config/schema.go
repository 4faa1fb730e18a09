package config

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// schema is the part of JSON Schema 2020-12 that the key table needs. It lets editors complete and check structure; what
// lies behind the text (bounds of durations, files, rules between keys) is for mfpgate check.
type schema struct {
	Dialect       string            `json:"$schema,omitempty"`
	Title         string            `json:"title,omitempty"`
	Description   string            `json:"description,omitempty"`
	Type          string            `json:"type,omitempty"`
	Enum          []string          `json:"enum,omitempty"`
	Pattern       string            `json:"pattern,omitempty"`
	Minimum       *int              `json:"minimum,omitempty"`
	Maximum       *int              `json:"maximum,omitempty"`
	AnyOf         []schema          `json:"anyOf,omitempty"`
	Default       any               `json:"default,omitempty"`
	Properties    map[string]schema `json:"properties,omitempty"`
	Required      []string          `json:"required,omitempty"`
	Additional    *bool             `json:"additionalProperties,omitempty"`
	MinProperties int               `json:"minProperties,omitempty"`
	MaxProperties int               `json:"maxProperties,omitempty"`
	Items         *schema           `json:"items,omitempty"`
	MinItems      int               `json:"minItems,omitempty"`
	MaxItems      int               `json:"maxItems,omitempty"`
}

// Schema returns the JSON Schema of the file, as schema.json in this folder has it.
func Schema() []byte {
	s := keys(&Config{}).schema()
	s.Dialect, s.Title = "https://json-schema.org/draft/2020-12/schema", "mfpgate configuration"
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		panic(err) // strings, numbers and maps of them always encode
	}
	return out.Bytes()
}

func (o object) schema() schema {
	s := schema{Type: "object", Properties: map[string]schema{}, Additional: new(bool)}
	for _, k := range o {
		below := k.kind.schema()
		below.Description = k.about
		if k.fixed {
			below.Description += " (a change takes a restart)"
		}
		s.Properties[k.name] = below
		if k.required {
			s.Required = append(s.Required, k.name)
		}
	}
	return s
}

func (l list[T]) schema() schema {
	var v T
	item := l.item(&v).schema()
	s := schema{Type: "array", Items: &item, MinItems: l.least, MaxItems: l.max}
	if l.def != nil {
		s.Default = l.def
	}
	return s
}

func (s scalar[T]) schema() schema {
	f := s.form
	out := schema{Type: f.yaml, Enum: f.enum}
	if f.pattern != nil {
		out.Pattern = f.pattern.String()
	}
	if f.bounds != nil {
		out.Minimum, out.Maximum = &f.bounds[0], &f.bounds[1]
	}
	if f.zero {
		zero := 0
		out = schema{AnyOf: []schema{out, {Type: "integer", Minimum: &zero, Maximum: &zero}}}
	}
	if s.def != nil {
		out.Default = *s.def
		if n, err := strconv.Atoi(*s.def); err == nil {
			out.Default = n
		} else if f.yaml == "boolean" {
			out.Default = *s.def == "true"
		}
	}
	return out
}

func (s secretRef) schema() schema {
	out := new(reference).keys().schema()
	out.MinProperties, out.MaxProperties = 1, 1
	return out
}
