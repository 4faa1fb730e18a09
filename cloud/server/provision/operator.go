package provision

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
)

// ErrOperator is returned for a name and password that are not those of an operator.
var ErrOperator = errors.New("operator's name or password not accepted")

// operator is the file of one account. The password has 130 random bits, so a plain hash of it cannot be searched.
type operator struct {
	Name           string    `json:"name"`
	PasswordSHA256 string    `json:"passwordSha256"`
	CreatedAt      time.Time `json:"createdAt"`
}

// AddOperator makes an account for the region's pages and returns its password, which is not kept and cannot be shown again.
// It returns ErrExists for a name that is there; removing the file operators/NAME.json removes the account at once.
func (f *Folder) AddOperator(name string) (mfpgate.Secret, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	unlock, err := f.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	var there operator
	switch err := f.readJSON(&there, "operators", name+".json"); {
	case err == nil:
		return "", fmt.Errorf("operator %s: %w", name, ErrExists)
	case !errors.Is(err, ErrNotFound):
		return "", err
	}
	password := rand.Text()
	record := operator{Name: name, PasswordSHA256: hashed(password), CreatedAt: f.clock.Now().UTC()}
	if err := f.writeJSON(record, "operators", name+".json"); err != nil {
		return "", err
	}
	return mfpgate.Secret(password), nil
}

// CheckOperator returns ErrOperator unless name is an operator with this password. A name that is none is compared, too.
func (f *Folder) CheckOperator(name string, password mfpgate.Secret) error {
	record := operator{PasswordSHA256: hashed("")} // never a password: AddOperator makes none that is empty
	known := CheckName(name) == nil
	if known {
		if err := f.readJSON(&record, "operators", name+".json"); errors.Is(err, ErrNotFound) {
			known = false
		} else if err != nil {
			return err
		}
	}
	if subtle.ConstantTimeCompare([]byte(hashed(password.Reveal())), []byte(record.PasswordSHA256)) != 1 || !known {
		return ErrOperator
	}
	return nil
}

func hashed(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// Gateways returns the ids of all gateways, sorted.
func (f *Folder) Gateways() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(f.root, "gateways"))
	if err != nil {
		return nil, fmt.Errorf("list gateways: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), ".json"); ok && CheckName(id) == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}
