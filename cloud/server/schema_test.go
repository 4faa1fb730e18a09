package server_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/cloud/api"
)

var updateSchemas = flag.Bool("update", false, "write the JSON schemas of cloud/api anew")

// TestSchemasAreThoseOfTheTypes holds the schemas that are printed for others against those that the server enforces.
func TestSchemasAreThoseOfTheTypes(t *testing.T) {
	for file, doc := range map[string]any{"snapshot.schema.json": api.Snapshot{}, "plan.schema.json": api.Plan{}} {
		want := schemaOf(t, reflect.TypeOf(doc))
		path := "../api/" + file
		if *updateSchemas {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is not the schema of its type; run this test with -update:\n%s", file, diff)
		}
	}
}

func schemaOf(t *testing.T, of reflect.Type) []byte {
	t.Helper()
	registry := huma.NewMapRegistry("#/$defs/", huma.DefaultSchemaNamer)
	registry.Schema(of, true, of.Name())
	text, err := json.Marshal(registry.Map())
	if err != nil {
		t.Fatal(err)
	}
	var defs map[string]any
	if err := json.Unmarshal(text, &defs); err != nil {
		t.Fatal(err)
	}
	for _, def := range defs {
		loosen(def.(map[string]any))
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(map[string]any{"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "mfpgate " + strings.ToLower(of.Name()),
		"$ref": "#/$defs/" + of.Name(), "$defs": defs}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// loosen says what huma does not see of types that read themselves, and that readers pass over fields that they do not know.
func loosen(def map[string]any) {
	delete(def, "additionalProperties")
	properties, _ := def["properties"].(map[string]any)
	for name, p := range properties {
		p := p.(map[string]any)
		switch name {
		case "version":
			p["type"] = []any{"string", "number"}
		case "devices":
			if items, ok := p["items"].(map[string]any); ok && items["type"] == "string" {
				properties[name] = map[string]any{"description": p["description"], "oneOf": []any{map[string]any{"const": api.All},
					map[string]any{"type": []any{"array", "null"}, "items": map[string]any{"type": "string", "minLength": 1}}}}
			}
		}
	}
}
