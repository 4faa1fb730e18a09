package house_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// explained are the pages where somebody looks a reason up, by the folders, or files, that give them.
var explained = []struct {
	page    string
	folders []string
}{
	{"operating.md", []string{"proxy", "proxy/slots", "proxy/destination", "proxy/tunnel", "daemon", "discovery", "scheduler", "scheduler/plan", "route.go"}},
	{"registration.md", []string{"broker/approval"}},
	{"moves.md", []string{"broker/region", "broker/region/route"}},
	{"agent.md", []string{"daemon/agent"}},
	{"print-service.md", []string{"cloud/server/print"}},
}

// TestEveryReasonIsExplained holds the pages against the constants.
func TestEveryReasonIsExplained(t *testing.T) {
	constant := regexp.MustCompile(`(?m)^\s*\w+\s+(?:(?:mfpgate\.)?Reason\s+)?=\s+"([a-z][a-z-]+)"|mfpgate\.Reason\s*=\s*"([a-z][a-z-]+)"`)
	found := 0
	for _, e := range explained {
		text, err := os.ReadFile("../../docs/" + e.page)
		if err != nil {
			t.Fatal(err)
		}
		for _, folder := range e.folders {
			before := found
			for _, reason := range reasons(t, constant, folder) {
				found++
				if !strings.Contains(string(text), "`"+reason+"`") {
					t.Errorf("docs/%s does not explain `%s` of %s", e.page, reason, folder)
				}
			}
			if found == before {
				t.Errorf("%s gives no reason; the test looks in the wrong place", folder)
			}
		}
	}
	if found < 150 {
		t.Errorf("%d reasons found; the test looks in the wrong places", found)
	}
}

// reasons are the constants of a folder that have their text there.
func reasons(t *testing.T, constant *regexp.Regexp, folder string) (list []string) {
	t.Helper()
	files := []string{"../../" + folder}
	if filepath.Ext(folder) != ".go" {
		var err error
		if files, err = filepath.Glob(files[0] + "/*.go"); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(source)) {
			if m := constant.FindStringSubmatch(line); m != nil && strings.Contains(line, "Reason") {
				list = append(list, m[1]+m[2])
			}
		}
	}
	return list
}
