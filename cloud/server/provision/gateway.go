package provision

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/cloud/api"
)

// ErrToken is returned for a token that is not one of this region's.
var ErrToken = errors.New("token not accepted")

// gateway is the file of one gateway. A token has 256 random bits, so a plain hash of it cannot be searched.
type gateway struct {
	GatewayID   string    `json:"gatewayId"`
	Behind      string    `json:"behind,omitempty"`
	TokenSHA256 string    `json:"tokenSha256"`
	CreatedAt   time.Time `json:"createdAt"`
}

// AddGateway makes a gateway with the default contract and returns its token, which is not kept and cannot be shown
// again. It returns ErrExists for a gateway that is there.
func (f *Folder) AddGateway(id string) (mfpgate.Secret, error) { return f.AddGatewayBehind(id, "") }

// AddGatewayBehind makes a gateway whose relay reaches the region through the relay of another one, outer ("": through none). It
// returns ErrNotFound for an outer gateway that is not there, and ErrChain for one that is too deep itself. What is behind what
// stays as it is, so that there are no circles.
func (f *Folder) AddGatewayBehind(id, outer string) (mfpgate.Secret, error) {
	if err := CheckName(id); err != nil {
		return "", err
	}
	unlock, err := f.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	if outer != "" {
		tree, err := f.Tree()
		if err != nil {
			return "", err
		}
		chain := tree.Chain(outer)
		if chain == nil {
			return "", fmt.Errorf("gateway %s: %w", outer, ErrNotFound)
		}
		if len(chain) >= MaxChain {
			return "", fmt.Errorf("gateway %s behind %s: %w", id, outer, ErrChain)
		}
	}
	var there gateway
	switch err := f.readJSON(&there, "gateways", id+".json"); {
	case err == nil:
		return "", fmt.Errorf("gateway %s: %w", id, ErrExists)
	case !errors.Is(err, ErrNotFound):
		return "", err
	}
	var contract api.Contract
	if err := f.readJSON(&contract, "contracts", id+".json"); errors.Is(err, ErrNotFound) {
		err = f.writeJSON(api.DefaultContract(id), "contracts", id+".json")
		if err != nil {
			return "", err
		}
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	token := id + "." + base64.RawURLEncoding.EncodeToString(secret)
	sum := sha256.Sum256([]byte(token))
	record := gateway{GatewayID: id, Behind: outer, TokenSHA256: hex.EncodeToString(sum[:]), CreatedAt: f.clock.Now().UTC()}
	if err := f.writeJSON(record, "gateways", id+".json"); err != nil {
		return "", err
	}
	return mfpgate.Secret(token), nil
}

// GatewayOf returns the id of the gateway that a token belongs to, or ErrToken.
func (f *Folder) GatewayOf(token mfpgate.Secret) (string, error) {
	id, _, _ := strings.Cut(token.Reveal(), ".")
	if CheckName(id) != nil {
		return "", ErrToken
	}
	var record gateway
	if err := f.readJSON(&record, "gateways", id+".json"); err != nil {
		if errors.Is(err, ErrNotFound) {
			return "", ErrToken
		}
		return "", err
	}
	sum := sha256.Sum256([]byte(token.Reveal()))
	if subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(record.TokenSHA256)) != 1 {
		return "", ErrToken
	}
	return id, nil
}

// Contract returns a gateway's contract and its entity tag. The tag comes from the content, so that a contract edited
// by hand has a new one too. It returns ErrNotFound for a gateway that is not there.
func (f *Folder) Contract(id string) (api.Contract, string, error) {
	if CheckName(id) != nil {
		return api.Contract{}, "", fmt.Errorf("contract of %q: %w", id, ErrNotFound)
	}
	var c api.Contract
	if err := f.readJSON(&c, "contracts", id+".json"); err != nil {
		return api.Contract{}, "", fmt.Errorf("contract: %w", err)
	}
	if err := c.Check(calendar.Texts{}); err != nil {
		return api.Contract{}, "", fmt.Errorf("contract of %s: %w", id, err)
	}
	canonical, err := json.Marshal(c)
	if err != nil {
		return api.Contract{}, "", err
	}
	sum := sha256.Sum256(canonical)
	return c, `"` + hex.EncodeToString(sum[:12]) + `"`, nil
}

// ChangeContract lets change edit a gateway's contract and keeps the result if it passes Check.
func (f *Folder) ChangeContract(id string, change func(*api.Contract)) error {
	unlock, err := f.lock()
	if err != nil {
		return err
	}
	defer unlock()
	c, _, err := f.Contract(id)
	if err != nil {
		return err
	}
	change(&c)
	if err := c.Check(calendar.Texts{}); err != nil {
		return fmt.Errorf("contract of %s: %w", id, err)
	}
	return f.writeJSON(c, "contracts", id+".json")
}

// FactoryKey returns the key that device tokens are derived from, and makes it if there is none. Regions that devices
// move between share one: copy the file factory.key before the first start.
func (f *Folder) FactoryKey() (mfpgate.Secret, error) {
	path := filepath.Join(f.root, "factory.key")
	unlock, err := f.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		data = []byte(rand.Text() + rand.Text() + "\n")
		err = writeFile(path, data)
	}
	if err != nil {
		return "", fmt.Errorf("factory key: %w", err)
	}
	return ParseFactoryKey(data)
}

// ParseFactoryKey reads the content of a key file. It refuses fewer than 32 characters.
func ParseFactoryKey(data []byte) (mfpgate.Secret, error) {
	key := strings.TrimSpace(string(data))
	if len(key) < 32 {
		return "", errors.New("factory key: shorter than 32 characters")
	}
	return mfpgate.Secret(key), nil
}

// DeviceToken is the credential that the factory puts into a device: its id and an HMAC-SHA256 of it.
func DeviceToken(factory mfpgate.Secret, id string) mfpgate.Secret {
	mac := hmac.New(sha256.New, []byte(factory.Reveal()))
	mac.Write([]byte("mfpgate device v1\x00" + id))
	return mfpgate.Secret(id + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
}

// DeviceOf returns the id of the device that a token belongs to, or ErrToken.
func DeviceOf(factory, token mfpgate.Secret) (string, error) {
	id, _, _ := strings.Cut(token.Reveal(), ".")
	if CheckName(id) != nil || !token.Equal(DeviceToken(factory, id)) {
		return "", ErrToken
	}
	return id, nil
}
