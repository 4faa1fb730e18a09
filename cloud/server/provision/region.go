package provision

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
)

// ErrRegion is returned for what is no region.
var ErrRegion = errors.New("must be two lower-case letters, such as jp")

var validRegion = regexp.MustCompile(`^[a-z]{2}$`)

// CheckRegion returns ErrRegion unless text can name a region: ISO 3166-1 alpha-2, lower case.
func CheckRegion(text string) error {
	if !validRegion.MatchString(text) {
		return fmt.Errorf("region %.16q: %w", text, ErrRegion)
	}
	return nil
}

// own is the file of what the region says of itself.
type own struct {
	Region string `json:"region"`
}

// Region returns the region whose folder this is, or ErrNotFound if nobody has said.
func (f *Folder) Region() (string, error) {
	var o own
	err := f.readJSON(&o, "region.json")
	return o.Region, err
}

// SetRegion says whose folder this is. A folder is one region's: another one is ErrExists.
func (f *Folder) SetRegion(region string) error {
	if err := CheckRegion(region); err != nil {
		return err
	}
	unlock, err := f.lock()
	if err != nil {
		return err
	}
	defer unlock()
	switch have, err := f.Region(); {
	case err == nil && have == region:
		return nil
	case err == nil:
		return fmt.Errorf("the state folder is region %s's: %w; give %s a folder of its own", have, ErrExists, region)
	case !errors.Is(err, ErrNotFound):
		return err
	}
	return f.writeJSON(own{region}, "region.json")
}

// SigningKey returns the key under which the region signs what devices, gateways and other regions shall believe, from
// signing-key.pem. It makes one if there is none. Devices have its public half from their factory: a new one strands them.
func (f *Folder) SigningKey() (ed25519.PrivateKey, error) {
	unlock, err := f.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	path := filepath.Join(f.root, "signing-key.pem")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("signing key: %w", err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, fmt.Errorf("signing key: %w", err)
		}
		text = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
		if err := writeFile(path, text); err != nil {
			return nil, fmt.Errorf("signing key: %w", err)
		}
	} else if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("signing key: %s is no PEM file; put the file back", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("signing key: %s: %w", path, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("signing key: %s holds no Ed25519 key", path)
	}
	return key, nil
}

// PublicKey is the public half of SigningKey as others are given it: see jws.EncodeKey.
func (f *Folder) PublicKey() (string, error) {
	key, err := f.SigningKey()
	if err != nil {
		return "", err
	}
	return jws.EncodeKey(key.Public().(ed25519.PublicKey)), nil
}

// RegistrationKey returns the key that makes registration ids unforgeable, from registration-id.key. It makes one if there is none.
// Without it no id that the region issued is known as its own.
func (f *Folder) RegistrationKey() (mfpgate.Secret, error) {
	unlock, err := f.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	path := filepath.Join(f.root, "registration-id.key")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		data = []byte(rand.Text() + rand.Text() + "\n")
		err = writeFile(path, data)
	}
	if err != nil {
		return "", fmt.Errorf("registration id key: %w", err)
	}
	key, err := ParseFactoryKey(data)
	if err != nil {
		return "", fmt.Errorf("registration-id.key: shorter than 32 characters; put the file back")
	}
	return key, nil
}

// AddOffer rolls a service out with its child services, in place of what was said of it before.
func (f *Folder) AddOffer(o mfpgate.ServiceOffer) error {
	for _, id := range append([]string{o.ID}, o.Children...) {
		if err := CheckName(id); err != nil {
			return err
		}
	}
	slices.Sort(o.Children)
	o.Children = slices.Compact(o.Children)
	if o.Children == nil {
		o.Children = []string{}
	}
	unlock, err := f.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return f.writeJSON(o, "rollout", o.ID+".json")
}

// RemoveOffer ends the roll-out of a service, or ErrNotFound. Devices that are registered in it stay.
func (f *Folder) RemoveOffer(id string) error {
	if err := CheckName(id); err != nil {
		return err
	}
	unlock, err := f.lock()
	if err != nil {
		return err
	}
	defer unlock()
	err = os.Remove(filepath.Join(f.root, "rollout", id+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("service %s: %w", id, ErrNotFound)
	}
	return err
}

// Offers are what the region has rolled out in its country, by id.
func (f *Folder) Offers() ([]mfpgate.ServiceOffer, error) {
	names, err := filepath.Glob(filepath.Join(f.root, "rollout", "*.json"))
	if err != nil {
		return nil, err
	}
	list := make([]mfpgate.ServiceOffer, 0, len(names))
	for _, name := range names {
		var o mfpgate.ServiceOffer
		switch err := f.readJSON(&o, "rollout", filepath.Base(name)); {
		case errors.Is(err, ErrNotFound): // removed meanwhile
		case err != nil:
			return nil, err
		default:
			list = append(list, o)
		}
	}
	return list, nil
}
