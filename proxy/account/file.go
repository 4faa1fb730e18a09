package account

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"
)

const (
	// MaxFileSize bounds the htpasswd file, in bytes: about 14,000 accounts.
	MaxFileSize = 1 << 20
	// MaxName bounds a user name, in bytes, as htpasswd itself does.
	MaxName = 255
	// maxCost keeps one check below about a second; htpasswd's own default is 5.
	maxCost = 14
	// maxMistakes is how many mistakes one refusal lists.
	maxMistakes = 20
)

// ErrFile is wrapped by Load's error when the file can be read but holds something other than good accounts.
var ErrFile = errors.New("not a device account file")

// Load reads an htpasswd file: a line "name:hash" per account; empty lines and lines that begin with # are passed over.
// Only bcrypt hashes ($2a$, $2b$, $2y$) are taken. The error names path, line and fix, one per line of text.
func Load(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open device accounts: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("read device accounts: %w", err)
	}
	if len(text) > MaxFileSize {
		return nil, fmt.Errorf("%s: %w: larger than %d bytes; split the site or remove old accounts", path, ErrFile, MaxFileSize)
	}
	accounts, err := parse(path, text)
	if err != nil {
		return nil, err
	}
	return newFile(accounts), nil
}

func parse(path string, text []byte) (map[string]hash, error) {
	accounts := map[string]hash{}
	seen := map[string]int{} // name to line
	var mistakes []error
	number := 0
	for line := range bytes.Lines(text) {
		number++
		entry := strings.TrimRight(string(line), "\r\n")
		if entry == "" || strings.HasPrefix(entry, "#") {
			continue
		}
		name, secret, _ := strings.Cut(entry, ":")
		err := check(path, name, secret)
		if err == nil && seen[name] != 0 {
			err = fmt.Errorf("user %q stands in line %d already; keep one of them", name, seen[name])
		}
		if err != nil {
			if len(mistakes) == maxMistakes {
				mistakes = append(mistakes, fmt.Errorf("%s:%d: and perhaps more; fix these first", path, number))
				break
			}
			mistakes = append(mistakes, fmt.Errorf("%s:%d: %w: %w", path, number, ErrFile, err))
			continue
		}
		seen[name] = number
		accounts[name] = hash(secret)
	}
	return accounts, errors.Join(mistakes...)
}

// check says what is wrong with one account and how to put it right. It never quotes the hash.
func check(path, name, secret string) error {
	switch {
	case secret == "" || name == "":
		return errors.New(`want "name:hash"; write the line with: htpasswd -B ` + path + " NAME")
	case len(name) > MaxName:
		return fmt.Errorf("user name longer than %d bytes; shorten it", MaxName)
	case !utf8.ValidString(name):
		return errors.New("user name is not UTF-8; save the file as UTF-8")
	case strings.ContainsFunc(name, unicode.IsControl): // RFC 7617 section 2
		return fmt.Errorf("user name %q has control characters; remove them", name)
	}
	if !strings.HasPrefix(secret, "$2a$") && !strings.HasPrefix(secret, "$2b$") && !strings.HasPrefix(secret, "$2y$") {
		return fmt.Errorf("user %q has no bcrypt hash; write it anew with: htpasswd -B %s %s", name, path, name)
	}
	// The pattern of a bcrypt hash: $2y$, two digits, $, 22 characters of salt and 31 of hash in bcrypt's own alphabet.
	cost, err := bcrypt.Cost([]byte(secret))
	if err != nil || len(secret) != 60 || secret[6] != '$' || strings.Trim(secret[7:], alphabet) != "" {
		return fmt.Errorf("user %q has a damaged bcrypt hash; write it anew with: htpasswd -B %s %s", name, path, name)
	}
	if cost > maxCost {
		return fmt.Errorf("user %q has a bcrypt cost of %d, the highest is %d; write it anew with: htpasswd -B -C 10 %s %s", name, cost, maxCost, path, name)
	}
	return nil
}

const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
