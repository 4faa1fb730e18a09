package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/goccy/go-yaml/ast"

	"github.com/mfpgate/mfpgate"
)

// Bounds of the files that a configuration names, in bytes.
const (
	maxSecret   = 64 << 10
	maxPEM      = 1 << 20
	maxAccounts = 16 << 20 // 100000 accounts and their bcrypt hashes
)

// secretRef is {file: P} or {credential: NAME}; what they hold is read at once.
type secretRef struct{ to *mfpgate.Secret }

func secret(to *mfpgate.Secret) kind { return secretRef{to} }

type reference struct{ file, credential string }

func (ref *reference) keys() object {
	return object{
		may("file", "file that holds the secret, readable by the gateway only", one(&ref.file, path())),
		may("credential", "name of a systemd credential", one(&ref.credential, credential())),
	}
}

func (s secretRef) fill() { *s.to = "" }

func (s secretRef) read(r *reader, at string, node ast.Node) {
	if _, ok := node.(*ast.MappingNode); !ok {
		r.fail(at, "a secret must not stand in this file, which is copied and read by many; write {file: /path} or {credential: name}")
		return
	}
	var ref reference
	ref.keys().read(r, at, node)
	if !r.good(at) {
		return
	}
	name, source := ref.file, at+".file"
	switch {
	case (ref.file == "") == (ref.credential == ""):
		r.fail(at, "must name one source; write {file: /path} or {credential: name}")
		return
	case ref.credential != "":
		dir := r.look.Env("CREDENTIALS_DIRECTORY")
		source = at + ".credential"
		if dir == "" {
			r.fail(source, "is only there under systemd, $CREDENTIALS_DIRECTORY is not set; add LoadCredential=%s:/path to the unit, or write {file: /path}", ref.credential)
			return
		}
		name = filepath.Join(dir, ref.credential)
	}
	text, err := r.look.read(name, maxSecret, true)
	if err != nil {
		r.fail(source, "%s", err)
		return
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if len(text) == 0 {
		r.fail(source, "%s is empty; write the secret into it", name)
		return
	}
	*s.to = mfpgate.Secret(text)
}

func (s secretRef) differs(other kind) bool { return !s.to.Equal(*other.(secretRef).to) }

// read returns a regular file of at most most bytes. A private one must not be readable by everybody on the machine. Mode
// and content are of the same open file. The error is "rule; fix".
func (l Lookups) read(name string, most int64, private bool) ([]byte, error) {
	f, err := l.Open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist; create it or correct the path", name)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s is not readable by this user; give the gateway's user the right to read it", name)
	case err != nil:
		return nil, fmt.Errorf("%s cannot be opened; check it and the disk", name)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil || !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file; name a file", name)
	case private && info.Mode().Perm()&0o004 != 0:
		return nil, fmt.Errorf("%s is readable by everybody on this machine; run chmod o-r on it", name)
	}
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s cannot be read; check it and the disk", name)
	case int64(len(text)) > most:
		return nil, fmt.Errorf("%s is larger than %d KiB; name the right file", name, most>>10)
	}
	return text, nil
}
