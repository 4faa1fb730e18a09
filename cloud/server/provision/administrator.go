package provision

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
)

// ErrMail is returned for what is not one mail address of an administrator.
var ErrMail = errors.New("must be a mail address such as it@example.com, of letters, digits and . _ + - before the @")

var validAdministrator = regexp.MustCompile(`^[a-z0-9][a-z0-9._+-]{0,63}@[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$`)

// administrator is the file of one account. The password has 130 random bits, so a plain hash of it cannot be searched.
type administrator struct {
	Mail           string    `json:"mail"`
	PasswordSHA256 string    `json:"passwordSha256"`
	CreatedAt      time.Time `json:"createdAt"`
}

// administratorOf returns the address as it is compared, in lower case, or ErrMail. It cannot lead out of the folder.
func administratorOf(mail string) (string, error) {
	mail = strings.ToLower(strings.TrimSpace(mail))
	if len(mail) > 200 || !validAdministrator.MatchString(mail) {
		return "", fmt.Errorf("%.64q: %w", mail, ErrMail)
	}
	return mail, nil
}

// AddAdministrator makes an account of the print service's pages and returns its password, which is not kept and cannot be shown
// again. It returns ErrExists for an address that is there; removing the file administrators/EMAIL.json removes the account at once.
func (f *Folder) AddAdministrator(mail string) (mfpgate.Secret, error) {
	mail, err := administratorOf(mail)
	if err != nil {
		return "", err
	}
	unlock, err := f.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	var there administrator
	switch err := f.readJSON(&there, "administrators", mail+".json"); {
	case err == nil:
		return "", fmt.Errorf("administrator %s: %w", mail, ErrExists)
	case !errors.Is(err, ErrNotFound):
		return "", err
	}
	password := rand.Text()
	record := administrator{Mail: mail, PasswordSHA256: hashed(password), CreatedAt: f.clock.Now().UTC()}
	if err := f.writeJSON(record, "administrators", mail+".json"); err != nil {
		return "", err
	}
	return mfpgate.Secret(password), nil
}

// CheckAdministrator tells whether an administrator has this address and password. An address that is none is compared, too.
func (f *Folder) CheckAdministrator(mail string, password mfpgate.Secret) (bool, error) {
	record := administrator{PasswordSHA256: hashed("")} // never a password: AddAdministrator makes none that is empty
	mail, err := administratorOf(mail)
	known := err == nil
	if known {
		if err := f.readJSON(&record, "administrators", mail+".json"); errors.Is(err, ErrNotFound) {
			known = false
		} else if err != nil {
			return false, err
		}
	}
	same := subtle.ConstantTimeCompare([]byte(hashed(password.Reveal())), []byte(record.PasswordSHA256)) == 1
	return same && known, nil
}
