package config_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/mfpgate/mfpgate/config"
)

// schemaLine is the first line of the shipped example, for editors.
const schemaLine = "# yaml-language-server: $schema=file:///usr/share/mfpgate/schema.json\n"

func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(config.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// document is what an editor hands to the schema; ok is false when it is no JSON-like document.
func document(t *testing.T, src []byte) (doc any, ok bool) {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(src, &v); err != nil {
		return nil, false
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, false
	}
	if doc, err = jsonschema.UnmarshalJSON(bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return doc, true
}

func TestSchemaIsGenerated(t *testing.T) { golden(t, "schema.json", string(config.Schema())) }

func TestSchemaTakesGoodFiles(t *testing.T) {
	schema := compile(t)
	for _, file := range append(files(t, "testdata/good/*.yaml"), "example.yaml") {
		doc, ok := document(t, source(t, file))
		if !ok {
			t.Fatalf("%s is no document", file)
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// A bad file whose first line is "# structure" must fail the schema; every other one must pass it, or the mark is missing.
func TestSchemaRefusesBadStructure(t *testing.T) {
	schema := compile(t)
	refused := 0
	for _, file := range files(t, "testdata/bad/*.yaml") {
		src := source(t, file)
		doc, ok := document(t, src)
		if !ok || strings.HasPrefix(filepath.Base(file), "yaml-") {
			continue // the text itself is at fault, which is no matter for a schema
		}
		err := schema.Validate(doc)
		if marked := bytes.HasPrefix(src, []byte("# structure\n")); marked != (err != nil) {
			t.Errorf("%s: marked as structure: %v; the schema says: %v", file, marked, err)
		} else if marked {
			refused++
		}
	}
	if refused < 20 {
		t.Errorf("the schema refuses %d bad files, want at least 20", refused)
	}
}

func TestExampleNamesItsSchema(t *testing.T) {
	if src := source(t, "example.yaml"); !bytes.HasPrefix(src, []byte(schemaLine)) {
		t.Errorf("example.yaml does not begin with %q", schemaLine)
	}
}

// Every key stands in the shipped example, in force or in a comment.
func TestExampleNamesEveryKey(t *testing.T) {
	example := source(t, "example.yaml")
	type object struct {
		Properties map[string]json.RawMessage
		Items      *struct{ Properties map[string]json.RawMessage }
	}
	keys := 0
	var walk func(properties map[string]json.RawMessage)
	walk = func(properties map[string]json.RawMessage) {
		for name, text := range properties {
			keys++
			if !regexp.MustCompile(`(?m)(^|[ {])` + name + `:`).Match(example) {
				t.Errorf("example.yaml does not name %s", name)
			}
			var o object
			if err := json.Unmarshal(text, &o); err != nil {
				t.Fatal(err)
			}
			walk(o.Properties)
			if o.Items != nil {
				walk(o.Items.Properties)
			}
		}
	}
	var root object
	if err := json.Unmarshal(config.Schema(), &root); err != nil {
		t.Fatal(err)
	}
	if walk(root.Properties); keys < 60 {
		t.Errorf("found %d keys in the schema; the walk is broken", keys)
	}
}
