package script_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/mfpgate/mfpgate/tests/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

// TestScripts runs each file here, with two commands beside testscript's own: await and code.
func TestScripts(t *testing.T) {
	binary := rig.Binary(t)
	testscript.Run(t, testscript.Params{
		Files: files(t),
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", "atexit_sleep_ms=0") // else each command lasts a second
			e.Setenv("PATH", filepath.Dir(binary)+":"+os.Getenv("PATH"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await": await,
			"code":  code,
		},
	})
}

func files(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob("*.txtar")
	if err != nil || len(list) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	return list
}

// await FILE waits until a file, such as a control socket, is there.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await FILE")
	}
	for range 3000 {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		ts.Check(ts.Exec("sleep", "0.01"))
	}
	ts.Fatalf("%s did not come", args[0])
}

// code N COMMAND... runs a command that must end with this exit code.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	// The shell's own output is the command's: stdout and stderr see it.
	err = ts.Exec("sh", append([]string{"-c", `"$@"; test $? -eq "$0"`, strconv.Itoa(want)}, args[1:]...)...)
	if err != nil {
		ts.Fatalf("%s: the exit code is not %d", strings.Join(args[1:], " "), want)
	}
}
