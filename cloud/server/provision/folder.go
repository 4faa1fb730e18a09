package provision

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store"
)

// ErrNotFound is returned for an id that nobody has added.
var ErrNotFound = errors.New("not found")

// ErrExists is returned for an id, or a package's model and version, that is taken.
var ErrExists = errors.New("exists already")

// ErrName is returned for an id that is not 1 to 64 letters, digits, dashes and underscores, the first a letter or digit.
var ErrName = errors.New("must be 1 to 64 letters, digits, '-' or '_', the first a letter or a digit")

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// CheckName returns ErrName unless id can name a gateway or a device.
func CheckName(id string) error {
	if !validName.MatchString(id) {
		return fmt.Errorf("id %q: %w", id, ErrName)
	}
	return nil
}

// Folder is a region's state folder. It is safe for use by several goroutines and processes.
type Folder struct {
	root  string
	clock mfpgate.Clock

	mu       sync.Mutex
	packages []api.Package // as of listed, the zero time if not read yet
	listed   stamp
	tree     *Tree
	treeRead stamp
}

// Open returns the folder at root and makes what is missing of it, for its owner only.
func Open(root string, clock mfpgate.Clock) (*Folder, error) {
	for _, sub := range []string{"gateways", "contracts", "packages", "operators", "administrators", "peers", "rollout"} {
		if err := os.MkdirAll(filepath.Join(root, sub), 0o700); err != nil {
			return nil, fmt.Errorf("open state folder: %w", err)
		}
	}
	return &Folder{root: root, clock: clock}, nil
}

// lock holds other writers off until the returned function is called; the kernel releases it if the process dies.
func (f *Folder) lock() (func(), error) {
	file, err := os.OpenFile(filepath.Join(f.root, "provision.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock state folder: %w", err)
	}
	for {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock state folder: %w", err), file.Close())
	}
	return func() { _ = file.Close() }, nil // closing releases the lock; there is nothing written to lose
}

func (f *Folder) readJSON(v any, parts ...string) error {
	path := filepath.Join(append([]string{f.root}, parts...)...)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", filepath.Base(path), ErrNotFound)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

func (f *Folder) writeJSON(v any, parts ...string) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(append([]string{f.root}, parts...)...), append(data, '\n'))
}

func writeFile(path string, data []byte) error {
	return store.WriteFile(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// FactsPath is the folder of the server's store.
func (f *Folder) FactsPath() string { return filepath.Join(f.root, "facts") }
