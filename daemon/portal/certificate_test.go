package portal_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/daemon/portal"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

func openCertificate(t *testing.T, o portal.CertificateOptions) *portal.Certificate {
	t.Helper()
	c, err := portal.OpenCertificate(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func certificateOptions(t *testing.T) (portal.CertificateOptions, *fakeclock.Clock, *bytes.Buffer) {
	t.Helper()
	clock, log := fakeclock.New(portaltest.Now), &bytes.Buffer{}
	return portal.CertificateOptions{Dir: filepath.Join(t.TempDir(), "portal"), Names: portal.CertificateNames("gate-1", "osaka-branch", "10.1.0.2"),
		Clock: clock, Log: telemetry.NewLogger(log, clock, new(telemetry.Level), false)}, clock, log
}

// shown is the certificate that a browser gets.
func shown(t *testing.T, c *portal.Certificate) *x509.Certificate {
	t.Helper()
	pair, err := c.TLS().GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func TestAnOwnCertificate(t *testing.T) {
	o, _, log := certificateOptions(t)
	leaf := shown(t, openCertificate(t, o))
	for _, name := range []string{"gate-1", "osaka-branch", "10.1.0.2", "localhost", "127.0.0.1", "::1"} {
		if err := leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: "gate-1", Roots: roots, CurrentTime: portaltest.Now}); err != nil {
		t.Errorf("a browser that trusts it does not take it: %v", err)
	}
	if leaf.IsCA || leaf.NotAfter.Sub(leaf.NotBefore) > 825*24*time.Hour {
		t.Errorf("authority %v, valid for %v", leaf.IsCA, leaf.NotAfter.Sub(leaf.NotBefore))
	}
	file := filepath.Join(o.Dir, "certificate.pem")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if !strings.Contains(log.String(), portal.Fingerprint(leaf)) || strings.Count(portal.Fingerprint(leaf), ":") != 31 {
		t.Errorf("the log does not name the fingerprint %s:\n%s", portal.Fingerprint(leaf), log)
	}
}

func TestAnOwnCertificateIsKeptWhileItIsGood(t *testing.T) {
	o, clock, _ := certificateOptions(t)
	c := openCertificate(t, o)
	first := shown(t, c)
	if !shown(t, openCertificate(t, o)).Equal(first) {
		t.Error("a restart made a new one")
	}
	clock.Advance(760 * 24 * time.Hour)
	if !shown(t, c).Equal(first) {
		t.Error("renewed two months and more before its end")
	}
	clock.Advance(6 * 24 * time.Hour)
	renewed := shown(t, c)
	if renewed.Equal(first) || !renewed.NotAfter.After(first.NotAfter) {
		t.Error("not renewed before its end, while the daemon runs")
	}
	o.Names = append(o.Names, "gate-1.example.co.jp")
	if shown(t, openCertificate(t, o)).Equal(renewed) {
		t.Error("kept without a name that it needs")
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "certificate.pem"), []byte("half a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	shown(t, openCertificate(t, o)) // a damaged file is replaced
}

func TestARenewalThatFailsKeepsTheOldCertificate(t *testing.T) {
	o, clock, log := certificateOptions(t)
	c := openCertificate(t, o)
	first := shown(t, c)
	if err := os.RemoveAll(o.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.Dir, nil, 0o600); err != nil { // a file where the folder should be
		t.Fatal(err)
	}
	clock.Advance(800 * 24 * time.Hour)
	for range 3 {
		if !shown(t, c).Equal(first) {
			t.Error("shows a certificate that is not kept")
		}
	}
	if n := strings.Count(log.String(), `"level":"error"`); n != 1 {
		t.Errorf("%d errors logged for three visits in one hour:\n%s", n, log)
	}
	if err := os.Remove(o.Dir); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Hour)
	if shown(t, c).Equal(first) {
		t.Error("not tried again")
	}
}

func TestAConfiguredCertificateIsReadAgain(t *testing.T) {
	o, _, _ := certificateOptions(t)
	made := func() (path string, leaf *x509.Certificate) {
		other, _, _ := certificateOptions(t)
		leaf = shown(t, openCertificate(t, other))
		return filepath.Join(other.Dir, "certificate.pem"), leaf
	}
	path, first := made()
	o.Cert, o.Key = path, path
	c := openCertificate(t, o)
	if !shown(t, c).Equal(first) {
		t.Fatal("shows another certificate than the configured one")
	}
	if _, err := os.Stat(o.Dir); err == nil {
		t.Error("made an own certificate beside the configured one")
	}
	next, second := made()
	if err := os.WriteFile(path, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Reload(); err == nil || !shown(t, c).Equal(first) {
		t.Errorf("a broken file: error %v", err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
	if err := c.Reload(); err != nil || !shown(t, c).Equal(second) {
		t.Errorf("a new file is not shown: error %v", err)
	}
	o.Cert = filepath.Join(t.TempDir(), "none")
	if _, err := portal.OpenCertificate(o); err == nil || !strings.Contains(err.Error(), "portal.tls") {
		t.Errorf("no file: %v", err)
	}
}

func TestTLSBefore12IsRefused(t *testing.T) {
	o, _, _ := certificateOptions(t)
	c := openCertificate(t, o)
	for version, want := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		near, far := net.Pipe()
		done := make(chan error, 1)
		go func() { done <- tls.Server(far, c.TLS()).Handshake(); _ = far.Close() }() // ends with the pipe
		client := tls.Client(near, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
		err := client.Handshake()
		_ = near.Close()
		<-done
		if (err == nil) != want {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
	}
}

func TestCertificateNames(t *testing.T) {
	for _, c := range []struct {
		rule, host, listen string
		want               []string
	}{
		{"an address to listen on is a name", "gate", "10.1.0.2", []string{"gate", "site", "10.1.0.2", "localhost", "127.0.0.1", "::1"}},
		{"every address is none", "gate", "0.0.0.0", []string{"gate", "site", "localhost", "127.0.0.1", "::1"}},
		{"every IPv6 address is none", "gate", "::", []string{"gate", "site", "localhost", "127.0.0.1", "::1"}},
		{"no host is none", "gate", "", []string{"gate", "site", "localhost", "127.0.0.1", "::1"}},
		{"each stands once", "localhost", "::1", []string{"localhost", "site", "::1", "127.0.0.1"}},
		{"what fits no certificate is left out", "my gate_1!", "gate.example", []string{"site", "gate.example", "localhost", "127.0.0.1", "::1"}},
	} {
		if diff := cmp.Diff(c.want, portal.CertificateNames(c.host, "site", c.listen)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.rule, diff)
		}
	}
}
