package ippsystem_test

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/cloud/server/print/ippsystem"
	"github.com/mfpgate/mfpgate/tests/need"
)

// TestConformance lets CUPS's ipptool judge.
func TestConformance(t *testing.T) {
	for _, tc := range []struct {
		file   string
		issuer string
		says   string // in its words, besides that all is well
	}{
		{file: "system.ipptool", issuer: "https://login.example", says: "xri-uri=ipps://print.example:631/ipp/system}"},
		{file: "register.ipptool", says: "printer-xri-supported (collection) = {xri-authentication=none xri-security=tls xri-uri=ipps://print.example:631/ipp/print/1}"},
	} {
		t.Run(tc.file, func(t *testing.T) {
			out, err := ipptool(t, tc.issuer, tc.file)
			if err != nil || strings.Contains(out, "[FAIL]") || !strings.Contains(out, tc.says) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	out, err := ipptool(t, "https://login.example", "unauthenticated.ipptool")
	if n := strings.Count(out, "status-code = client-error-not-authenticated (Unauthorized)"); err == nil || n != 2 {
		t.Errorf("without a token: %v\n%s", err, out)
	}
}

// ipptool runs the requests of a file and returns what it says of them and of their answers.
func ipptool(t *testing.T, issuer, file string) (string, error) {
	t.Helper()
	program := need.Program(t, "ipptool")
	mux := http.NewServeMux()
	mux.Handle(ippsystem.Path, ippsystem.Handler(&service{issuer: issuer}))
	server := httptest.NewServer(mux)
	defer server.Close()
	uri := "ipp" + strings.TrimPrefix(server.URL, "http") + ippsystem.Path
	out, err := exec.CommandContext(t.Context(), program, "-tvI", "-T", "10", uri, "testdata/"+file).CombinedOutput()
	return string(out), err
}
