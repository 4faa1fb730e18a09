package vm_test

import (
	"os"
	"os/exec"
	"testing"
)

func TestInside(t *testing.T) {
	if os.Getenv(part) != checks {
		t.Skip("runs inside the system that TestInstalledGateway boots")
	}
	out, err := exec.Command("systemctl", "is-system-running").CombinedOutput()
	t.Logf("%s %v", out, err)
	out, err = exec.Command("systemctl", "--failed", "--no-legend").CombinedOutput()
	t.Logf("%s %v", out, err)
}
