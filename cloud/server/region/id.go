package region

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
)

// maxID bounds a registration id, in bytes.
const maxID = 80

// ErrID is returned for text that is no registration id.
var ErrID = errors.New("not a registration id: it looks like r1.jp.1.01J….0123456789abcdef")

// ID is what a registration id says: r1.<region>.<epoch>.<ulid>.<hmac8>. The country of its issuer in it lets any region find out whom to
// ask (JP2025-008253 claim 4); the last part, 8 bytes of HMAC-SHA256 under the issuer's key, tells the issuer that it made it.
type ID struct {
	Region string
	Epoch  uint64
	Serial string // a ULID
	text   string
}

// ParseID reads an id. Whether it is genuine, only its issuer knows.
func ParseID(text string) (ID, error) {
	part := strings.Split(text, ".")
	if len(text) > maxID || len(part) != 5 || part[0] != "r1" || provision.CheckRegion(part[1]) != nil || len(part[3]) != 26 || len(part[4]) != 16 {
		return ID{}, ErrID
	}
	epoch, err := strconv.ParseUint(part[2], 10, 64)
	if err != nil || epoch == 0 || part[2] != strconv.FormatUint(epoch, 10) {
		return ID{}, ErrID
	}
	if strings.Trim(part[3], "0123456789ABCDEFGHJKMNPQRSTVWXYZ") != "" || strings.Trim(part[4], "0123456789abcdef") != "" {
		return ID{}, ErrID
	}
	return ID{part[1], epoch, part[3], text}, nil
}

// Genuine tells whether the id was made under this key.
func (id ID) Genuine(key mfpgate.Secret) bool {
	head := id.text[:strings.LastIndexByte(id.text, '.')]
	return hmac.Equal([]byte(id.text), []byte(head+"."+proof(key, head)))
}

// Mint makes a new id.
func Mint(clock mfpgate.Clock, key mfpgate.Secret, region string, epoch uint64) string {
	_, serial, _ := strings.Cut(mfpgate.NewID(clock, "r"), "_")
	head := "r1." + region + "." + strconv.FormatUint(epoch, 10) + "." + serial
	return head + "." + proof(key, head)
}

func proof(key mfpgate.Secret, head string) string {
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	mac.Write([]byte("mfpgate registration v1\x00" + head))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}
