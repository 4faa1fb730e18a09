package peers

import (
	"fmt"
	"path/filepath"
)

// Locate is Path for a program that is no test: what is missing is an error.
func Locate(name string) (string, error) {
	if _, known := programs[name]; !known {
		return "", fmt.Errorf("peers: %s is none of them", name)
	}
	tree, err := once()
	return filepath.Join(tree, "bin", name), err
}

// LocateShare is Share for a program that is no test.
func LocateShare(name string) (string, error) {
	tree, err := once()
	return filepath.Join(tree, "root/usr/share", name), err
}
