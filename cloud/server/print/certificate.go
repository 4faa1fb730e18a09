package print

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"net/http"
	"net/url"
	"time"
)

const (
	certificateLife = 365 * 24 * time.Hour
	maxRequest      = 16 << 10 // bytes of a PKCS #10 request
	minRSA, maxRSA  = 2048, 8192
	skew            = 5 * time.Minute // between the service's clock and a device's
)

// Authority is the region's own for printers.
type Authority struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// checkRequest returns the key of a certificate request that its owner signed. Nothing else of it is used: neither its subject
// nor the extensions that it asks for.
func checkRequest(der []byte) (crypto.PublicKey, error) {
	bad := func(text string) error { return refuse(http.StatusUnprocessableEntity, ReasonCSR, text) }
	if len(der) == 0 || len(der) > maxRequest {
		return nil, bad("certificateRequest must be a PKCS #10 request in DER, as base64, of at most 16 KiB.")
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, bad("certificateRequest is no PKCS #10 request in DER.")
	}
	switch key := csr.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return nil, bad("An elliptic key must be of the curve P-256.")
		}
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < minRSA || n > maxRSA {
			return nil, bad("An RSA key must have 2048 to 8192 bits.")
		}
	default:
		return nil, bad("The key must be ECDSA P-256 or RSA.")
	}
	if csr.CheckSignature() != nil {
		return nil, bad("The request is not signed with its own key.")
	}
	return csr.PublicKey, nil
}

// certify makes a printer's certificate.
func (s *Service) certify(printer, uuid string, key crypto.PublicKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	id, err := url.Parse("urn:uuid:" + uuid)
	if err != nil {
		return nil, err
	}
	now := s.Clock.Now().UTC()
	template := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), Subject: pkix.Name{CommonName: printer}, URIs: []*url.URL{id},
		NotBefore: now.Add(-skew), NotAfter: now.Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	return x509.CreateCertificate(rand.Reader, template, s.Authority.Certificate, key, s.Authority.Key)
}

// fingerprint is SHA-256 of a certificate, in hex.
func fingerprint(der []byte) string {
	if len(der) == 0 {
		return ""
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}
