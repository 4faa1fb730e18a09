package daemon

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// pins are the keys of regions' clouds, as of the first contact with each. They stand in a file of their own beside the store, which
// an administrator can read, and remove when a region's key was changed for good.
type pins struct {
	file string
	mu   sync.Mutex
}

const pinsSchema = 1

type pinned struct {
	Schema int   `json:"schema"`
	Clouds []pin `json:"clouds"`
}

type pin struct {
	Cloud string    `json:"cloud"` // URL and gateway id
	Keys  []string  `json:"keys"`  // Ed25519, base64
	At    time.Time `json:"pinnedAt"`
}

func (p *pins) read() (pinned, error) {
	text, err := os.ReadFile(p.file)
	if errors.Is(err, fs.ErrNotExist) {
		return pinned{Schema: pinsSchema}, nil
	}
	if err != nil {
		return pinned{}, fmt.Errorf("keys of regions: %w", err)
	}
	var all pinned
	if err := json.Unmarshal(text, &all); err != nil {
		return pinned{}, fmt.Errorf("keys of regions: %s: %w", p.file, err)
	}
	if all.Schema != pinsSchema {
		return pinned{}, fmt.Errorf("keys of regions: %s has schema %d, and this version reads %d", p.file, all.Schema, pinsSchema)
	}
	return all, nil
}

// load returns the keys of a cloud; none before the first contact. A file that cannot be read is an error: what it held must not be
// taken for a first contact.
func (p *pins) load(cloud string) ([]ed25519.PublicKey, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all, err := p.read()
	if err != nil {
		return nil, err
	}
	var keys []ed25519.PublicKey
	for _, of := range all.Clouds {
		if of.Cloud != cloud {
			continue
		}
		for _, text := range of.Keys {
			key, err := base64.StdEncoding.DecodeString(text)
			if err != nil || len(key) != ed25519.PublicKeySize {
				return nil, fmt.Errorf("keys of regions: %s: a key of %s is none", p.file, cloud)
			}
			keys = append(keys, key)
		}
		if len(keys) == 0 {
			return nil, fmt.Errorf("keys of regions: %s: %s has none", p.file, cloud)
		}
	}
	return keys, nil
}

// store adds the keys of a cloud. When it returns nil they are on the disk.
func (p *pins) store(cloud string, keys []ed25519.PublicKey, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	all, err := p.read()
	if err != nil {
		return err
	}
	next := pin{Cloud: cloud, At: now.UTC()}
	for _, key := range keys {
		next.Keys = append(next.Keys, base64.StdEncoding.EncodeToString(key))
	}
	all.Clouds = append(all.Clouds, next)
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(p.file, append(text, '\n'))
}

// replaceFile writes a file whole or not at all, and waits for the disk.
func replaceFile(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
