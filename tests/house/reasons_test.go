package house_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryReasonIsExplained holds docs/operating.md, where an administrator looks a reason up, against the constants.
func TestEveryReasonIsExplained(t *testing.T) {
	text, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	constant := regexp.MustCompile(`(?m)^\s*\w+\s+(?:mfpgate\.Reason\s+)?=\s+"([a-z][a-z-]+)"|mfpgate\.Reason\s*=\s*"([a-z][a-z-]+)"`)
	found := 0
	for _, folder := range []string{"proxy", "proxy/slots", "proxy/destination", "proxy/tunnel", "daemon", "discovery", "scheduler", "scheduler/plan"} {
		files, err := filepath.Glob("../../" + folder + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(source)) {
				if !strings.Contains(line, "mfpgate.Reason") {
					continue
				}
				m := constant.FindStringSubmatch(line)
				if m == nil {
					continue
				}
				found++
				if reason := m[1] + m[2]; !strings.Contains(string(text), "`"+reason+"`") {
					t.Errorf("docs/operating.md does not explain `%s` of %s", reason, folder)
				}
			}
		}
	}
	if found < 100 {
		t.Errorf("%d reasons found; the test looks in the wrong places", found)
	}
}
