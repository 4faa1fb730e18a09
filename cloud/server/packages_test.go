package server_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

func TestPackageContent(t *testing.T) {
	r := servertest.Start(t)
	mfp := caller{r, r.HTTP(t), r.Device(t, "mfp-1")}
	const size = 100_000
	p := r.Package(t, "SIM-100", "2.0", size)
	all, err := io.ReadAll(provision.Generated("SIM-100", "2.0", size))
	servertest.Must(t, err)
	tag := `"` + p.SHA256 + `"`
	sum := sha256.Sum256(all)
	digest := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	for _, c := range []struct {
		rule         string
		headers      []string
		status       int
		want         []byte
		contentRange string
	}{
		{"all of it", nil, 200, all, ""},
		{"a first part", []string{"Range", "bytes=0-99"}, 206, all[:100], "bytes 0-99/100000"},
		{"the rest", []string{"Range", "bytes=99990-"}, 206, all[99990:], "bytes 99990-99999/100000"},
		{"the last bytes", []string{"Range", "bytes=-10"}, 206, all[99990:], "bytes 99990-99999/100000"},
		{"the rest of the same package", []string{"Range", "bytes=500-", "If-Range", tag}, 206, all[500:], "bytes 500-99999/100000"},
		{"all of another than the part is of", []string{"Range", "bytes=500-", "If-Range", `"other"`}, 200, all, ""},
		{"a weak tag does not match If-Range", []string{"Range", "bytes=500-", "If-Range", "W/" + tag}, 200, all, ""},
		{"behind the end", []string{"Range", "bytes=100000-"}, 416, nil, "bytes */100000"},
		{"a unit that nobody knows", []string{"Range", "lines=1-2"}, 416, nil, ""},
		{"what the caller has", []string{"If-None-Match", tag}, 304, nil, ""},
		{"only if it is another", []string{"If-Match", `"other"`}, 412, nil, ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			got := mfp.do(t, http.MethodGet, p.ContentPath(), nil, c.headers...)
			if got.status != c.status || got.header.Get("Content-Range") != c.contentRange {
				t.Fatalf("got %d %q, want %d %q", got.status, got.header.Get("Content-Range"), c.status, c.contentRange)
			}
			if c.want == nil {
				if got.status != 304 && got.reason(t) == "" {
					t.Errorf("status %d is no problem: %s", got.status, got.body)
				}
				return
			}
			if !bytes.Equal(got.body, c.want) {
				t.Errorf("got %d bytes that are not the %d wanted", len(got.body), len(c.want))
			}
			if got.header.Get("Repr-Digest") != digest || got.header.Get("ETag") != tag {
				t.Errorf("got digest %s, tag %s", got.header.Get("Repr-Digest"), got.header.Get("ETag"))
			}
		})
	}
	if got := mfp.do(t, http.MethodGet, "/v1/packages/pkg_x/content", nil); got.reason(t) != "unknown-package" {
		t.Errorf("no such package: got %d %s", got.status, got.body)
	}
}

func TestPackagesAreListedOldestFirst(t *testing.T) {
	r := servertest.Start(t)
	gw := caller{r, r.HTTP(t), r.Gateway(t, "osaka-1")}
	var want []api.Package
	for _, v := range []string{"1.0", "3.0", "2.0"} {
		want = append(want, r.Package(t, "A", v, 10))
		r.Package(t, "B", v, 10)
	}
	first := decode[api.Page[api.Package]](t, gw.do(t, http.MethodGet, "/v1/packages?model=A&limit=2", nil))
	second := decode[api.Page[api.Package]](t, gw.do(t, http.MethodGet, "/v1/packages?model=A&limit=2&cursor="+first.NextCursor, nil))
	if diff := cmp.Diff(want, append(first.Items, second.Items...)); diff != "" || second.NextCursor != "" {
		t.Errorf("next %q; %s", second.NextCursor, diff)
	}
}

func TestPackageIsAddedOnceAndWhole(t *testing.T) {
	r := servertest.Start(t)
	p := r.Package(t, "A", "1.0", 1000)
	if again := r.Package(t, "A", "1.0", 1000); again != p {
		t.Errorf("the same bytes again: got %+v, want %+v", again, p)
	}
	if _, err := r.Folder.AddPackage("A", "1.0", provision.Generated("A", "1.0", 999)); err == nil {
		t.Error("other bytes under the same version were kept")
	}
	if _, err := r.Folder.AddPackage("A", "1.1", bytes.NewReader(nil)); err == nil {
		t.Error("a package without bytes was kept")
	}
	// What a kill between bytes and description leaves is gone at the next addition.
	orphan := filepath.Join(r.Dir, "packages", "pkg_orphan.bin")
	servertest.Must(t, os.WriteFile(orphan, []byte("x"), 0o600))
	r.Package(t, "A", "2.0", 10)
	if _, err := os.Stat(orphan); !os.IsNotExist(err) {
		t.Errorf("bytes without a description: stat says %v", err)
	}
	all, err := r.Folder.Packages()
	servertest.Must(t, err)
	if len(all) != 2 {
		t.Errorf("got %d packages, want 2", len(all))
	}
}
