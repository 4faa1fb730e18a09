package daemon_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/tests/peers"
)

// TestTheAlertRulesOfTheManual are rules that promtool takes, about series that the daemon has.
func TestTheAlertRulesOfTheManual(t *testing.T) {
	page, err := os.ReadFile("../docs/registration.md")
	if err != nil {
		t.Fatal(err)
	}
	series, err := os.ReadFile("testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```yaml\n(groups:.*?)```").FindSubmatch(page)
	if found == nil {
		t.Fatal("the page has no rules")
	}
	for _, of := range regexp.MustCompile(`(mfpgate_\w+)(\{(\w+)="(\w+)"\})?`).FindAllSubmatch(found[1], -1) {
		name := "\n" + string(of[1]) + string(of[2])
		if !strings.Contains(string(series), name+"\n") && (len(of[2]) > 0 || !strings.Contains(string(series), name+"{")) {
			t.Errorf("the daemon has no series %s", name[1:])
		}
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, found[1], 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(peers.Path(t, "promtool"), "check", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}
