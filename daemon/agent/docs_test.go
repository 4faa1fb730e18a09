package agent_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// TestTheExamplesAreTrue reads docs/agent.md as a maker of devices does: each example must be a document that this door gives or takes.
func TestTheExamplesAreTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/agent.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"`GET " + api.RequestsPath + "`", "`POST " + api.ResultPath("{registrationId}") + "`"} {
		if !bytes.Contains(text, []byte(path)) {
			t.Errorf("the page does not name %s", path)
		}
	}
	examples := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(text, -1)
	documents := []any{&api.RegistrationRequests{}, &api.OpenRequests{}, &api.RegistrationResult{}, &api.RegistrationResult{}, &api.RegistrationResult{}}
	if len(examples) != len(documents) {
		t.Fatalf("%d examples, want %d", len(examples), len(documents))
	}
	for i, d := range documents {
		in := json.NewDecoder(bytes.NewReader(examples[i][1]))
		in.DisallowUnknownFields()
		if err := in.Decode(d); err != nil {
			t.Errorf("%s\n%v", examples[i][1], err)
			continue
		}
		if rules, ok := d.(interface{ Check() error }); ok && rules.Check() != nil {
			t.Errorf("%s\n%v", examples[i][1], rules.Check())
		}
	}
	if list := documents[0].(*api.RegistrationRequests); len(list.Items) == 0 {
		t.Error("the list has no request")
	}
	for _, word := range []string{api.EventRequest, api.EventOpen} {
		if !strings.Contains(string(text), "`"+word+"`") {
			t.Errorf("the page does not name the event %s", word)
		}
	}
}
