package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/tests/need"
)

var units = []string{"mfpgate.service", "mfpgate.socket", "mfpgate-portal.socket"}

// staged copies the units to a folder, with the built binary in place of the installed one, and edits the service.
func staged(t *testing.T, edit func(string) string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range units {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out := strings.ReplaceAll(string(text), "/usr/bin/mfpgate", binary)
		if name == "mfpgate.service" {
			out = edit(out)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// verify returns all that systemd-analyze says: its exit status is 0 for a key that it does not know.
func verify(t *testing.T, dir string) string {
	t.Helper()
	args := []string{"verify", "--man=no"}
	for _, name := range units {
		args = append(args, filepath.Join(dir, name))
	}
	cmd := exec.Command(need.Program(t, "systemd-analyze"), args...)
	cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out) + err.Error()
	}
	return string(out)
}

func TestUnitsAreWhatSystemdReads(t *testing.T) {
	if said := verify(t, staged(t, func(s string) string { return s })); said != "" {
		t.Errorf("systemd-analyze verify, want silence:\n%s", said)
	}
	misspelt := func(s string) string { return strings.Replace(s, "NoNewPrivileges=", "NoNewPrivilege=", 1) }
	if said := verify(t, staged(t, misspelt)); !strings.Contains(said, "NoNewPrivilege") {
		t.Errorf("systemd-analyze verify of a misspelt key, want a complaint, got %q", said)
	}
}

// The rest of the exposure is real need: Internet, unix and netlink sockets.
func TestServiceIsHardened(t *testing.T) {
	analyze := need.Program(t, "systemd-analyze")
	cmd := exec.Command(analyze, "security", "--offline=true", "--threshold=20", "--no-pager", "mfpgate.service")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze security: %v, want an exposure of at most 2.0\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	t.Log(lines[len(lines)-1])
}
