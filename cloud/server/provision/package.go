package provision

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store"
)

// stamp says which state of the packages' folder a listing shows.
type stamp struct {
	modified time.Time
	settled  bool // the folder was old enough when read that a later change must show another time
}

// AddPackage keeps the bytes of r as a version of a model's software. The same model, version and bytes again return
// the package that is there; other bytes return ErrExists.
func (f *Folder) AddPackage(model, version string, r io.Reader) (api.Package, error) {
	for name, v := range map[string]string{"model": model, "version": version} {
		if v == "" || len(v) > 128 {
			return api.Package{}, fmt.Errorf("%s %q: must have 1 to 128 characters", name, v)
		}
	}
	unlock, err := f.lock()
	if err != nil {
		return api.Package{}, err
	}
	defer unlock()
	dir := filepath.Join(f.root, "packages")
	if err := sweep(dir); err != nil {
		return api.Package{}, err
	}
	p := api.Package{PackageID: mfpgate.NewID(f.clock, "pkg"), Model: model, Version: version, CreatedAt: f.clock.Now().UTC()}
	there, errThere := f.find(model, version)
	if errThere != nil && !errors.Is(errThere, ErrNotFound) {
		return api.Package{}, errThere
	}
	err = store.WriteFile(filepath.Join(dir, p.PackageID+".bin"), func(w io.Writer) error {
		sum := sha256.New()
		if p.Size, err = io.Copy(io.MultiWriter(w, sum), r); err != nil {
			return err
		}
		p.SHA256 = hex.EncodeToString(sum.Sum(nil))
		switch {
		case p.Size == 0:
			return errors.New("it has no bytes")
		case errThere == nil:
			return ErrExists
		default:
			return nil
		}
	})
	if errors.Is(err, ErrExists) && there.SHA256 == p.SHA256 {
		return there, nil
	}
	if err != nil {
		return api.Package{}, fmt.Errorf("package %s %s: %w", model, version, err)
	}
	return p, f.writeJSON(p, "packages", p.PackageID+".json") // with this name the package is there
}

// sweep removes what an interrupted AddPackage left: bytes without a description.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	described := map[string]bool{}
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			described[id] = true
		}
	}
	for _, e := range entries {
		id, isBytes := strings.CutSuffix(e.Name(), ".bin")
		if isBytes && !described[id] || strings.HasPrefix(e.Name(), ".tmp-") {
			if err := remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *Folder) find(model, version string) (api.Package, error) {
	all, err := f.Packages()
	if err != nil {
		return api.Package{}, err
	}
	i := slices.IndexFunc(all, func(p api.Package) bool { return p.Model == model && p.Version == version })
	if i < 0 {
		return api.Package{}, ErrNotFound
	}
	return all[i], nil
}

// Packages returns all packages, the oldest first. Callers must not change the slice.
func (f *Folder) Packages() ([]api.Package, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir := filepath.Join(f.root, "packages")
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("list packages: %w", err)
	}
	if f.listed.settled && info.ModTime().Equal(f.listed.modified) {
		return f.packages, nil
	}
	// The folder's time has the kernel's tick as its grain: two changes within one show the same time. A listing is
	// therefore trusted only if the folder had been quiet for a while before it was read.
	next := stamp{modified: info.ModTime(), settled: f.clock.Now().Sub(info.ModTime()) > time.Second}
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	list := make([]api.Package, 0, len(names))
	for _, name := range names {
		var p api.Package
		if err := f.readJSON(&p, "packages", filepath.Base(name)); err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b api.Package) int { return a.CreatedAt.Compare(b.CreatedAt) })
	f.packages, f.listed = list, next
	return list, nil
}

// Package returns one package, or ErrNotFound.
func (f *Folder) Package(id string) (api.Package, error) {
	all, err := f.Packages()
	if err != nil {
		return api.Package{}, err
	}
	i := slices.IndexFunc(all, func(p api.Package) bool { return p.PackageID == id })
	if i < 0 {
		return api.Package{}, fmt.Errorf("package %q: %w", id, ErrNotFound)
	}
	return all[i], nil
}

// Target returns the package that devices of a model should run: the one added last. It returns ErrNotFound if the
// model has none.
func (f *Folder) Target(model string) (api.Package, error) {
	all, err := f.Packages()
	if err != nil {
		return api.Package{}, err
	}
	for _, p := range slices.Backward(all) {
		if p.Model == model {
			return p, nil
		}
	}
	return api.Package{}, fmt.Errorf("package for model %q: %w", model, ErrNotFound)
}

// OpenContent opens a package's bytes. The caller closes the file.
func (f *Folder) OpenContent(p api.Package) (*os.File, error) {
	return os.Open(filepath.Join(f.root, "packages", p.PackageID+".bin"))
}

// Generated returns size bytes that depend on model and version alone and do not compress.
func Generated(model, version string, size int64) io.Reader {
	seed := sha256.Sum256([]byte(model + "\x00" + version))
	return io.LimitReader(rand.NewChaCha8(seed), size)
}
