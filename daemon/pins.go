package daemon

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api/jws"
	"github.com/mfpgate/mfpgate/store"
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
			key, err := jws.ParseKey(text)
			if err != nil {
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
		next.Keys = append(next.Keys, jws.EncodeKey(key))
	}
	all.Clouds = append(all.Clouds, next)
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return store.WriteFile(p.file, func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}
