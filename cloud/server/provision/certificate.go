package provision

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const certificateLife = 5 * 365 * 24 * time.Hour

// CertificatePath is the file that clients trust.
func (f *Folder) CertificatePath() string { return filepath.Join(f.root, "cert.pem") }

// Certificate returns the server's own certificate for names (host names and addresses), from cert.pem and key.pem. It makes
// one if there is none, and a new one if a name is missing or fewer than 30 days are left: then clients need it anew.
func (f *Folder) Certificate(names []string) (tls.Certificate, error) {
	unlock, err := f.lock()
	if err != nil {
		return tls.Certificate{}, err
	}
	defer unlock()
	certFile, keyFile := f.CertificatePath(), filepath.Join(f.root, "key.pem")
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err == nil && f.covers(pair.Leaf, names) {
		return pair, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return tls.Certificate{}, fmt.Errorf("own certificate: %w; remove cert.pem and key.pem to have new ones made", err)
	}
	certPEM, keyPEM, err := f.issue(names)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("own certificate: %w", err)
	}
	// A crash between the two leaves no cert.pem, and the next start makes both anew.
	if err := errors.Join(remove(certFile), writeFile(keyFile, keyPEM), writeFile(certFile, certPEM)); err != nil {
		return tls.Certificate{}, fmt.Errorf("own certificate: %w", err)
	}
	if err := os.Chmod(certFile, 0o644); err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(certPEM, keyPEM)
}

func (f *Folder) covers(leaf *x509.Certificate, names []string) bool {
	if leaf.NotAfter.Sub(f.clock.Now()) < 30*24*time.Hour {
		return false
	}
	for _, name := range names {
		if leaf.VerifyHostname(name) != nil {
			return false
		}
	}
	return true
}

func (f *Folder) issue(names []string) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	now := f.clock.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "mfpcloud"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateLife),
		// It is its own authority, so that OpenSSL-based clients accept it as a trust anchor too.
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}
