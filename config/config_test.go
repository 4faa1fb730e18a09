package config_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/config"
)

var update = flag.Bool("update", false, "write the golden files")

// machine is what the files under testdata may refer to.
var machine = sync.OnceValue(func() config.Lookups {
	cert, key := certificate()
	file := func(mode fs.FileMode, text string) *fstest.MapFile {
		return &fstest.MapFile{Mode: mode, Data: []byte(text)}
	}
	files := fstest.MapFS{
		"etc/mfpgate/devices.htpasswd": file(0o640, "# devices\ncopier-2f:$2y$05$x\ninner:$2y$05$y\ninner-2:$2y$05$z\n"),
		"etc/mfpgate/secret":           file(0o600, "s3cret\r\n"),
		"etc/mfpgate/long":             file(0o600, "s3cret-s3cret\n"),
		"etc/mfpgate/public":           file(0o644, "s3cret\n"),
		"etc/mfpgate/empty":            file(0o600, "\n"),
		"etc/mfpgate/huge":             file(0o600, strings.Repeat("x", 64<<10+1)),
		"etc/mfpgate/usb.quirks":       file(0o644, ""),
		"etc/mfpgate/portal.crt":       file(0o644, cert),
		"etc/mfpgate/portal.key":       file(0o600, key),
		"creds/cloud-token":            file(0o400, "t0ken\n"),
		"etc/mfpgate/seal-key":         file(0o600, strings.Repeat("5ea1", 16)+"\n"),
		"creds/corp-proxy":             file(0o400, "p4ss\n"),
		"creds/smtp":                   file(0o400, "p4ss\n"),
	}
	return config.Lookups{
		Open: func(path string) (fs.File, error) {
			if path == "/etc/mfpgate/locked" {
				return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
			}
			return files.Open(strings.TrimPrefix(path, "/"))
		},
		Env: func(name string) string { return map[string]string{"CREDENTIALS_DIRECTORY": "/creds"}[name] },
	}
})

func certificate() (cert, key string) {
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1<<32, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &pair.PublicKey, pair)
	if err != nil {
		panic(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(pair)
	if err != nil {
		panic(err)
	}
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", private)
}

// golden compares got with the file, or writes it.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func files(t testing.TB, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf("no files match %s: %v", pattern, err)
	}
	return found
}

func source(t testing.TB, file string) []byte {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// parse reads a text that must be good.
func parse(t *testing.T, src string) *config.Config {
	t.Helper()
	c, err := config.Parse("mfpgate.yaml", []byte(src), machine())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBadFiles(t *testing.T) {
	found := files(t, "testdata/bad/*.yaml")
	if len(found) < 45 {
		t.Errorf("%d bad files, want at least 45", len(found))
	}
	for _, file := range found {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			c, err := config.Parse(name+".yaml", source(t, file), machine())
			var errs config.Errors
			if c != nil || !errors.As(err, &errs) || len(errs) == 0 {
				t.Fatalf("Parse = %v, %v; want Errors", c, err)
			}
			for _, e := range errs {
				if e.Line < 1 || e.Column < 1 || e.Key == "" || e.Rule == "" || e.Fix == "" {
					t.Errorf("%+v lacks a place, a key, a rule or a fix", e)
				}
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", err.Error()+"\n")
			for _, private := range []string{"s3cret", "t0ken", "p4ss", "hunter2"} {
				if strings.Contains(err.Error(), private) {
					t.Errorf("the error repeats the secret %q", private)
				}
			}
		})
	}
}

func TestGoodFiles(t *testing.T) {
	for _, file := range append(files(t, "testdata/good/*.yaml"), "example.yaml") {
		if _, err := config.Parse(file, source(t, file), machine()); err != nil {
			t.Error(err)
		}
	}
}

func TestSize(t *testing.T) {
	small := source(t, "testdata/good/smallest.yaml")
	fill := func(size int) []byte {
		return append(bytes.Clone(small), "#"+strings.Repeat("x", size-len(small)-1)...)
	}
	if _, err := config.Parse("f", fill(config.MaxSize), machine()); err != nil {
		t.Errorf("a file of MaxSize: %v", err)
	}
	_, err := config.Parse("f", fill(config.MaxSize+1), machine())
	if err == nil || err.Error() != "f:1:1: yaml: is larger than 1 MiB; name the configuration file" {
		t.Errorf("a file of MaxSize+1: %v", err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	small := string(source(t, "testdata/good/smallest.yaml"))
	token := write("token", "t0ken\n", 0o600)
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	good := write("good.yaml", small+"cloud: {url: https://jp.cloud.example, gateway_id: g, token: {file: "+token+"}}\n", 0o644)
	c, err := config.Load(good, config.System())
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Cloud.Token.Reveal(); got != "t0ken" {
		t.Errorf("token from a file = %q", got)
	}
	credential := write("credential.yaml", small+"cloud: {url: https://jp.cloud.example, gateway_id: g, token: {credential: token}}\n", 0o644)
	if c, err = config.Load(credential, config.System()); err != nil || c.Cloud.Token.Reveal() != "t0ken" {
		t.Errorf("token from a credential: %v", err)
	}
	bad := write("bad.yaml", small+"relai: 1\n", 0o644)
	if _, err = config.Load(bad, config.System()); err == nil || !strings.HasPrefix(err.Error(), bad+":") {
		t.Errorf("Load(bad) = %v; want an error that begins with the path", err)
	}
	var errs config.Errors
	if _, err = config.Load(filepath.Join(dir, "absent"), config.System()); !errors.Is(err, fs.ErrNotExist) || errors.As(err, &errs) {
		t.Errorf("Load(absent) = %v; want fs.ErrNotExist and no Errors", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml", "example.yaml"} {
		for _, file := range files(f, pattern) {
			f.Add(source(f, file))
		}
	}
	for _, s := range []string{"[", "{", "- ", "? ", "&a ", "!t ", "- [", "a: {", "\"", "|\n", "---\n", ": "} {
		f.Add([]byte(strings.Repeat(s, 500)))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := config.Parse("f", src, machine())
		if (c == nil) == (err == nil) {
			t.Fatalf("Parse = %v, %v; want one of them", c, err)
		}
		if err == nil {
			if changes := config.Diff(c, c); changes != nil {
				t.Fatalf("a Config differs from itself in %v", changes)
			}
			return
		}
		lines := strings.Split(err.Error(), "\n")
		var errs config.Errors
		if !errors.As(err, &errs) || len(lines) != len(errs) {
			t.Fatalf("%d errors in %d lines: %v", len(errs), len(lines), err)
		}
		for i, e := range errs {
			if e.Line < 1 || e.Column < 1 || e.Key == "" || e.Rule == "" || e.Fix == "" {
				t.Fatalf("%+v lacks a place, a key, a rule or a fix", e)
			}
			if i > 0 && (e.Line < errs[i-1].Line || e.Line == errs[i-1].Line && e.Column < errs[i-1].Column) {
				t.Fatalf("%q is out of file order", err)
			}
		}
	})
}
