package lan_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/mfpgate/mfpgate/tests/lan"
	"github.com/mfpgate/mfpgate/tests/need"
)

// killed in the environment makes the test's binary the one that dies.
const killed = "LAN_TEST_KILLED"

// A child with Pdeathsig dies with the thread that started it, and the network's threads are some that were others' before.
func TestOtherChildrenLive(t *testing.T) {
	need.Root(t)
	var children []*exec.Cmd
	for range 8 {
		started := make(chan error)
		go func() { // ends with its one value
			cmd := exec.CommandContext(t.Context(), "sleep", "infinity")
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			children = append(children, cmd)
			started <- cmd.Start()
		}()
		if err := <-started; err != nil {
			t.Fatal(err)
		}
	}
	t.Run("network", func(t *testing.T) {
		l := lan.New(t, 2)
		for range 8 {
			_, _ = l.Gateway().DialContext(t.Context(), "udp", "10.77.0.2:9")
		}
	})
	for _, c := range children {
		var status syscall.WaitStatus
		if pid, err := syscall.Wait4(c.Process.Pid, &status, syscall.WNOHANG, nil); pid != 0 || err != nil {
			t.Errorf("child %d: %v, ended by %v", c.Process.Pid, err, status.Signal())
		}
		_ = c.Process.Kill()
		_ = c.Wait()
	}
}

// It runs itself again, as the test that is killed while its network stands.
func TestNothingIsLeftOfADeadTest(t *testing.T) {
	if os.Getenv(killed) != "" {
		fmt.Println("hosts:", strings.Join(busy(t), " "))
		<-t.Context().Done() // the parent kills it
		return
	}
	t.Parallel() // it waits for the network most of the time
	need.Root(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNothingIsLeftOfADeadTest$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), killed+"=1", "TMPDIR="+t.TempDir()) // what it leaves in files goes with this test
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var hosts []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if list, ok := strings.CutPrefix(lines.Text(), "hosts: "); ok {
			hosts = strings.Fields(list)
			break
		}
		t.Log(lines.Text())
	}
	if len(hosts) != 3 {
		t.Errorf("the child has made %q", hosts)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	gone(t, hosts)
}
