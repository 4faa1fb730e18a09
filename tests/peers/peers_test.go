package peers_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/tests/peers"
)

func TestPeersRun(t *testing.T) {
	for _, peer := range []struct{ name, flag, says string }{
		{"squid", "-v", "Squid Cache: Version"},
		{"haproxy", "-v", "HAProxy version"},
		{"tinyproxy", "-v", "tinyproxy "},
	} {
		out, err := exec.Command(peers.Path(t, peer.name), peer.flag).CombinedOutput()
		if err != nil || !strings.Contains(string(out), peer.says) {
			t.Errorf("%s %s: %v: %s", peer.name, peer.flag, err, out)
		}
	}
}
