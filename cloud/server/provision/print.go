package provision

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/mfpgate/mfpgate/store/seal"
)

const authorityLife = 20 * 365 * 24 * time.Hour

// PrintAuthorityPath is the certificate that printers' certificates are verified with.
func (f *Folder) PrintAuthorityPath() string { return filepath.Join(f.root, "print-ca.pem") }

// PrintSealer seals the secrets of the print service with the key in print.key, which it makes if there is none. Without that
// file all codes, tokens and links that are out are void.
func (f *Folder) PrintSealer() (*seal.Sealer, error) {
	key, err := seal.OpenKey(filepath.Join(f.root, "print.key"))
	if err != nil {
		return nil, err
	}
	return seal.New(key)
}

// PrintAuthority returns the print service's certificate authority, from print-ca.pem and print-ca.key. It makes one if there is
// none. One file without the other is refused: a new authority would void every printer's certificate.
func (f *Folder) PrintAuthority() (*x509.Certificate, crypto.Signer, error) {
	unlock, err := f.lock()
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	certPath, keyPath := f.PrintAuthorityPath(), filepath.Join(f.root, "print-ca.key")
	certPEM, err := os.ReadFile(certPath)
	if errors.Is(err, fs.ErrNotExist) {
		// The key is written first: a crash between the two leaves a key that has certified nothing, and a new pair is made.
		if err := f.makeAuthority(certPath, keyPath); err != nil {
			return nil, nil, fmt.Errorf("print authority: %w", err)
		}
		certPEM, err = os.ReadFile(certPath)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("print authority: %w", err)
	}
	keyPEM, err := os.ReadFile(keyPath)
	if err != nil {
		return nil, nil, fmt.Errorf("print authority: %w; put the file back, or remove print-ca.pem: then all printers must be registered again", err)
	}
	cert, key, err := parseAuthority(certPEM, keyPEM)
	if err != nil {
		return nil, nil, fmt.Errorf("print authority: %w", err)
	}
	return cert, key, nil
}

func parseAuthority(certPEM, keyPEM []byte) (*x509.Certificate, crypto.Signer, error) {
	certBlock, _ := pem.Decode(certPEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certBlock == nil || keyBlock == nil {
		return nil, nil, errors.New("print-ca.pem or print-ca.key is no PEM file")
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return nil, nil, err
	}
	any, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, nil, err
	}
	key, ok := any.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, nil, errors.New("print-ca.key is not the key of print-ca.pem")
	}
	return cert, key, nil
}

func (f *Folder) makeAuthority(certPath, keyPath string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	now := f.clock.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "mfpcloud printers"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := writeFile(keyPath, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})); err != nil {
		return err
	}
	if err := writeFile(certPath, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})); err != nil {
		return err
	}
	return os.Chmod(certPath, 0o644)
}
