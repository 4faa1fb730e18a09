package provision

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// MaxChain is how many gateways a connection may pass.
const MaxChain = 4

// ErrChain is returned for a gateway that would be behind MaxChain others.
var ErrChain = errors.New("behind too many gateways")

// Tree says which gateway is behind which. It does not change.
type Tree struct {
	outer map[string]string   // "" of one that is behind none
	inner map[string][]string // sorted
}

// Chain returns the gateway and those that it is behind, the nearest first, or nil for one that is not there.
func (t *Tree) Chain(id string) (chain []string) {
	for range MaxChain {
		outer, there := t.outer[id]
		if !there {
			break
		}
		chain = append(chain, id)
		if outer == "" {
			break
		}
		id = outer
	}
	return chain
}

// Below returns the gateway and all that are behind it, at any depth, each with the one of them that is nearest to the gateway ("" for the
// gateway itself).
func (t *Tree) Below(id string) []Below {
	list, seen := []Below{{Gateway: id}}, map[string]bool{id: true}
	for n := 0; n < len(list); n++ {
		for _, inner := range t.inner[list[n].Gateway] {
			if seen[inner] {
				continue // a circle that somebody wrote by hand
			}
			seen[inner] = true
			via := list[n].Via
			if via == "" {
				via = inner
			}
			list = append(list, Below{inner, via})
		}
	}
	return list
}

// Below is a gateway as seen from one that it is behind.
type Below struct{ Gateway, Via string }

// Tree returns which gateway is behind which.
func (f *Folder) Tree() (*Tree, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir := filepath.Join(f.root, "gateways")
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("list gateways: %w", err)
	}
	if f.treeRead.settled && info.ModTime().Equal(f.treeRead.modified) {
		return f.tree, nil
	}
	next := stamp{modified: info.ModTime(), settled: f.clock.Now().Sub(info.ModTime()) > time.Second} // see Packages
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	t := &Tree{outer: map[string]string{}, inner: map[string][]string{}}
	for _, name := range names {
		var g gateway
		if err := f.readJSON(&g, "gateways", filepath.Base(name)); err != nil {
			return nil, err
		}
		id := strings.TrimSuffix(filepath.Base(name), ".json")
		t.outer[id] = g.Behind
		if g.Behind != "" {
			t.inner[g.Behind] = append(t.inner[g.Behind], id)
		}
	}
	for _, list := range t.inner {
		slices.Sort(list)
	}
	f.tree, f.treeRead = t, next
	return t, nil
}
