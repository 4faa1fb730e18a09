// Package config reads the administrator's YAML into one immutable value, once and strictly.
//
// It promises that a Config it returns is whole and possible: every key known, every value of its type and within its
// bounds, every secret and every file read, every combination workable. It refuses, all at once and in file order, whatever
// is not so; each error names place, key, rule and fix (see Errors). Load and Parse return either a Config or an error,
// never both, and touch nothing but the files that the configuration names.
//
// keys.go is the whole of the format: one table of keys and rules from which the parser, the defaults, schema.json and Diff
// all work. kind.go and form.go say what may stand at a key, check.go what must hold between keys, yaml.go which part of
// YAML is taken: plain scalars, quoted text, mappings and sequences of one document. Anchors, aliases, merge keys, tags,
// octal and hexadecimal numbers, yes/no and indentation by tabs are refused, because readers of YAML differ over them or a
// glance does not show what they do.
//
// A secret never stands in the file: it is a mapping {file: P} or {credential: NAME}, and no error repeats a secret.
package config
