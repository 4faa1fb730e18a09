package provision

import (
	"crypto/rand"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
)

// PeerRole is as what a region calls another one, or its own management server its own services.
type PeerRole string

// The roles of a region, each with a credential of its own.
const (
	PeerManagement PeerRole = "management"
	PeerServices   PeerRole = "services"
)

// ErrOwnRegion is returned for a peer that is the region itself.
var ErrOwnRegion = errors.New("is this region itself")

// Invitation is what a region hands to another one so that both are peers, on a way that nobody else can read or change: it holds
// the tokens with which the invited one calls, and the key under which the inviting one signs.
type Invitation struct {
	Region string `json:"region"` // that invites
	Tokens Tokens `json:"tokens"` // that it accepts
	Key    string `json:"key"`    // its public signing key
}

// Tokens are one for each role, in the clear.
type Tokens struct {
	Management string `json:"management"`
	Services   string `json:"services"`
}

// invited is the file of a region that may call this one. Tokens have 130 random bits and more, so a plain hash cannot be searched.
type invited struct {
	Region           string    `json:"region"`
	ManagementSHA256 string    `json:"managementSha256"`
	ServicesSHA256   string    `json:"servicesSha256,omitempty"`
	CreatedAt        time.Time `json:"createdAt"`
}

// accepted is the file of a region that this one may call.
type accepted struct {
	Invitation
	CA         string    `json:"ca,omitempty"` // PEM; "": the system's authorities
	AcceptedAt time.Time `json:"acceptedAt"`
}

// Peer is a region that this one may call.
type Peer struct {
	Region     string
	Management mfpgate.Secret // this region's token at the peer's management server
	Services   mfpgate.Secret // at its services
	Key        string         // under which it signs
	CA         []byte         // PEM; nil: the system's authorities
}

func tokenOf(region string, role PeerRole) string {
	return region + "~" + string(role) + "." + rand.Text() + rand.Text()
}

// InvitePeer makes tokens for another region and returns the invitation to hand to it; the tokens are not kept and cannot be shown
// again. self is this region. ErrExists for a region that is invited already.
func (f *Folder) InvitePeer(self, peer string) (Invitation, error) {
	if err := errors.Join(CheckRegion(self), CheckRegion(peer)); err != nil {
		return Invitation{}, err
	}
	if self == peer {
		return Invitation{}, fmt.Errorf("peer %s: %w", peer, ErrOwnRegion)
	}
	key, err := f.PublicKey()
	if err != nil {
		return Invitation{}, err
	}
	unlock, err := f.lock()
	if err != nil {
		return Invitation{}, err
	}
	defer unlock()
	var there invited
	switch err := f.readJSON(&there, "peers", peer+".invited.json"); {
	case err == nil:
		return Invitation{}, fmt.Errorf("peer %s: invited: %w; `mfpcloud peer remove %s` takes the invitation back", peer, ErrExists, peer)
	case !errors.Is(err, ErrNotFound):
		return Invitation{}, err
	}
	t := Tokens{Management: tokenOf(peer, PeerManagement), Services: tokenOf(peer, PeerServices)}
	r := invited{Region: peer, ManagementSHA256: hashed(t.Management), ServicesSHA256: hashed(t.Services), CreatedAt: f.clock.Now().UTC()}
	if err := f.writeJSON(r, "peers", peer+".invited.json"); err != nil {
		return Invitation{}, err
	}
	return Invitation{Region: self, Tokens: t, Key: key}, nil
}

// AcceptPeer keeps an invitation, in place of one of the same region. ca (PEM; nil: the system's authorities) is what the peer's
// servers are trusted by.
func (f *Folder) AcceptPeer(i Invitation, ca []byte) error {
	if err := CheckRegion(i.Region); err != nil {
		return fmt.Errorf("invitation: %w", err)
	}
	if self, err := f.Region(); err == nil && self == i.Region {
		return fmt.Errorf("invitation: region %s %w", self, ErrOwnRegion)
	}
	if _, err := jws.ParseKey(i.Key); err != nil {
		return fmt.Errorf("invitation: %w", err)
	}
	for _, token := range []string{i.Tokens.Management, i.Tokens.Services} {
		if len(token) < 40 || len(token) > 256 || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return errors.New("invitation: a token is missing or damaged; invite anew")
		}
	}
	if ca != nil && !x509.NewCertPool().AppendCertsFromPEM(ca) {
		return errors.New("ca: the file holds no certificate in PEM")
	}
	unlock, err := f.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return f.writeJSON(accepted{Invitation: i, CA: string(ca), AcceptedAt: f.clock.Now().UTC()}, "peers", i.Region+".accepted.json")
}

// RemovePeer ends what was agreed with a region, both ways, or ErrNotFound. Its tokens are worth nothing from then on.
func (f *Folder) RemovePeer(peer string) error {
	if err := CheckRegion(peer); err != nil {
		return err
	}
	unlock, err := f.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if self, err := f.Region(); err == nil && self == peer {
		return fmt.Errorf("peer %s: %w", peer, ErrOwnRegion)
	}
	found := false
	for _, kind := range []string{".invited.json", ".accepted.json"} {
		err := os.Remove(filepath.Join(f.root, "peers", peer+kind))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		found = found || err == nil
	}
	if !found {
		return fmt.Errorf("peer %s: %w", peer, ErrNotFound)
	}
	return nil
}

// Peers are the regions that this one may call, by name.
func (f *Folder) Peers() ([]Peer, error) {
	names, err := filepath.Glob(filepath.Join(f.root, "peers", "*.accepted.json"))
	if err != nil {
		return nil, err
	}
	var list []Peer
	for _, name := range names {
		var a accepted
		switch err := f.readJSON(&a, "peers", filepath.Base(name)); {
		case errors.Is(err, ErrNotFound):
			continue
		case err != nil:
			return nil, err
		}
		p := Peer{Region: a.Region, Management: mfpgate.Secret(a.Tokens.Management), Services: mfpgate.Secret(a.Tokens.Services), Key: a.Key}
		if a.CA != "" {
			p.CA = []byte(a.CA)
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Peer) int { return strings.Compare(a.Region, b.Region) })
	return list, nil
}

// PeerOf returns the region and the role that a token belongs to, or ErrToken. The region's own management server is one of them.
func (f *Folder) PeerOf(token mfpgate.Secret) (region string, role PeerRole, err error) {
	caller, _, _ := strings.Cut(token.Reveal(), ".")
	region, as, named := strings.Cut(caller, "~")
	role = PeerRole(as)
	if !named || CheckRegion(region) != nil || role != PeerManagement && role != PeerServices {
		return "", "", ErrToken
	}
	var r invited
	if err := f.readJSON(&r, "peers", region+".invited.json"); errors.Is(err, ErrNotFound) {
		return "", "", ErrToken
	} else if err != nil {
		return "", "", err
	}
	want := r.ManagementSHA256
	if role == PeerServices {
		want = r.ServicesSHA256
	}
	if want == "" || subtle.ConstantTimeCompare([]byte(hashed(token.Reveal())), []byte(want)) != 1 {
		return "", "", ErrToken
	}
	return region, role, nil
}

// OwnToken returns the credential of the region's own management server at its own services, from own-management.token; the services
// know its hash. It makes both if there is none.
func (f *Folder) OwnToken(self string) (mfpgate.Secret, error) {
	if err := CheckRegion(self); err != nil {
		return "", err
	}
	unlock, err := f.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	path := filepath.Join(f.root, "own-management.token")
	text, err := os.ReadFile(path)
	if err == nil {
		return mfpgate.Secret(strings.TrimSpace(string(text))), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("own token: %w", err)
	}
	token := tokenOf(self, PeerManagement)
	// The hash first: a crash between the two leaves no token, and both are made anew.
	r := invited{Region: self, ManagementSHA256: hashed(token), CreatedAt: f.clock.Now().UTC()}
	if err := f.writeJSON(r, "peers", self+".invited.json"); err != nil {
		return "", fmt.Errorf("own token: %w", err)
	}
	if err := writeFile(path, []byte(token+"\n")); err != nil {
		return "", fmt.Errorf("own token: %w", err)
	}
	return mfpgate.Secret(token), nil
}
