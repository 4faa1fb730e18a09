package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/internal/mfp"
)

func TestFleetInstallsAndEnds(t *testing.T) {
	r := servertest.Start(t)
	r.Package(t, "SIM-100", "2.0", 50_000)
	state := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	reader, writer := io.Pipe()
	code := make(chan int, 1)
	go func() { // the test waits for code
		code <- run(ctx, []string{"fleet", "--cloud", r.URL, "--ca", filepath.Join(r.Dir, "cert.pem"), "--factory-key", filepath.Join(r.Dir, "factory.key"),
			"--count", "3", "--first", "127.0.1.20", "--state", state, "--poll", "100ms", "--json"}, writer, os.Stderr)
		_ = writer.Close()
	}()
	reported := map[string]bool{}
	for lines := json.NewDecoder(reader); len(reported) < 3; {
		var e mfp.Event
		if err := lines.Decode(&e); err != nil {
			t.Fatalf("after the reports of %v: %v", reported, err)
		}
		if e.Kind == mfp.Reported {
			reported[e.Device] = true
		}
	}
	cancel()
	go func() { _, _ = io.Copy(io.Discard, reader) }() // ends when writer is closed
	if got := <-code; got != 0 {
		t.Errorf("exit code %d, want 0", got)
	}
	for _, id := range []string{"mfp-1", "mfp-2", "mfp-3"} {
		data, err := os.ReadFile(filepath.Join(state, id+".json"))
		if !reported[id] || err != nil || !strings.Contains(string(data), `"firmware":"2.0"`) {
			t.Errorf("%s: reported %v; remembers %s, %v", id, reported[id], data, err)
		}
	}
}

func TestExitCodes(t *testing.T) {
	key := filepath.Join(t.TempDir(), "factory.key")
	servertest.Must(t, os.WriteFile(key, []byte(strings.Repeat("k", 40)), 0o600))
	for _, c := range []struct {
		rule, args string
		code       int
		text       string
	}{
		{"no command", "", 2, "run or fleet"},
		{"no cloud", "run --id a --factory-key KEY", 2, `"cloud"`},
		{"no token", "run --id a --cloud https://127.0.0.1:1", 2, "factory-key token-file"},
		{"a cloud that is no URL", "run --id a --cloud x --factory-key KEY", 1, "must be a URL"},
		{"a relay that is no HTTP proxy", "run --id a --cloud https://127.0.0.1:1 --factory-key KEY --proxy socks5://x:1", 1, "must be http://host:port"},
		{"a user without a password", "run --id a --cloud https://127.0.0.1:1 --factory-key KEY --proxy http://x:1 --proxy-user u", 1, "--proxy-password-file"},
		{"an id that is none", "run --id a.b --cloud https://127.0.0.1:1 --factory-key KEY", 1, "must be 1 to 64 letters"},
		{"a source address that is none", "run --id a --cloud https://127.0.0.1:1 --factory-key KEY --bind x", 1, "bind"},
		{"too large a fleet", "fleet --count 10001 --cloud https://127.0.0.1:1 --factory-key KEY", 1, "1 to 10000"},
		{"a printer without an address", "run --id a --cloud https://127.0.0.1:1 --factory-key KEY --print", 1, "needs --bind"},
		{"activity of no printer", "run --id a --cloud https://127.0.0.1:1 --factory-key KEY --activity 5", 1, "need --print"},
		{"a print service that nobody asks for", "run --id a --cloud https://127.0.0.1:1 --factory-key KEY --print-service kind=reference,url=https://x", 1, "need --agent or --panel"},
		{"a panel without a print service", "run --id a --cloud https://127.0.0.1:1 --factory-key KEY --panel 127.0.0.1:0", 1, "need --print-service"},
		{"a print service of no kind", "run --id a --cloud https://127.0.0.1:1 --factory-key KEY --panel 127.0.0.1:0 --print-service url=https://x", 1, "needs kind= and url="},
		{"a print service with an unknown word", "run --id a --cloud https://127.0.0.1:1 --factory-key KEY --panel 127.0.0.1:0 --print-service kind=reference,link=x", 1, `"link" is not known`},
		{"a gateway in the clear", "run --id a --cloud https://127.0.0.1:1 --factory-key KEY --agent http://x:8443 --print-service kind=reference,url=https://x", 1, "https://gateway:8443"},
		{"an account without a password", "run --id a --cloud https://127.0.0.1:1 --factory-key KEY --agent https://x --agent-account a --print-service kind=reference,url=https://x", 1, "name:passwordfile"},
		{"a mail server without a sender", "run --id a --cloud https://127.0.0.1:1 --factory-key KEY --panel 127.0.0.1:0 --smtp x:25", 2, "mail-from"},
		{"a fleet has no panel", "fleet --cloud https://127.0.0.1:1 --factory-key KEY --panel 127.0.0.1:0", 2, "unknown flag"},
		{"trust in a file without certificates", "run --id a --cloud https://127.0.0.1:1 --factory-key KEY --ca KEY", 1, "no certificate"},
	} {
		var out bytes.Buffer
		code := run(t.Context(), strings.Fields(strings.ReplaceAll(c.args, "KEY", key)), &out, &out)
		if code != c.code || !strings.Contains(out.String(), c.text) {
			t.Errorf("%s: got %d %q, want %d %q", c.rule, code, out.String(), c.code, c.text)
		}
	}
}
