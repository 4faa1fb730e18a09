package mfp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store"
)

const stateSchema = 1

// state is what a device does not forget when it is switched off.
type state struct {
	Schema   int      `json:"schema"`
	Firmware string   `json:"firmware"`
	Part     *part    `json:"part,omitempty"`
	Report   *pending `json:"report,omitempty"`

	Residence *residence `json:"residence,omitempty"`
}

// residence is where a device has registered, and what directives have made of that.
type residence struct {
	Registration string `json:"registration"`
	Region       string `json:"region"`
	Epoch        uint64 `json:"epoch"`
	Services     string `json:"servicesUrl"`
	// Of a directive.
	Management string         `json:"managementUrl,omitempty"` // "": the one that the device was started with
	Move       mfpgate.MoveID `json:"moveId,omitempty"`
	AckTo      string         `json:"ackTo,omitempty"` // management server that has not been told yet
}

// part is a package that has arrived in part.
type part struct {
	PackageID string `json:"packageId"`
	ETag      string `json:"etag"`
	Offset    int64  `json:"offset"`
	Hash      []byte `json:"hash"` // SHA-256's own marshalled state after Offset bytes
}

// pending is a report that the cloud has not taken yet. Its key stays the same, so that it counts once.
type pending struct {
	Key    string            `json:"key"`
	Report api.InstallReport `json:"report"`
}

// loadState reads a state file; a missing one is a new device that runs firmware.
func loadState(path, firmware string) (state, error) {
	fresh := state{Schema: stateSchema, Firmware: firmware}
	if path == "" {
		return fresh, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fresh, nil
	}
	if err != nil {
		return state{}, err
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return state{}, fmt.Errorf("read %s: %w; remove the file to start as new", path, err)
	}
	if s.Schema != stateSchema {
		return state{}, fmt.Errorf("read %s: schema %d is not %d; remove the file to start as new", path, s.Schema, stateSchema)
	}
	return s, nil
}

// saveState replaces the file whole; without a path there is nothing to keep.
func saveState(path string, s state) error {
	if path == "" {
		return nil
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return store.WriteFile(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}
