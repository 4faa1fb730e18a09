package approval

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
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
)

const (
	maxCertificate = 16 << 10
	early          = 24 * time.Hour // that a service's clock may be ahead, or stands in another time zone
)

// newKey makes a device's key, in PKCS #8, and asks for its certificate (RFC 2986), whose subject is the device's UUID.
func newKey(kind mfpgate.PrintKey, d mfpgate.PrintDevice) (key string, csr []byte, err error) {
	var signer crypto.Signer
	switch kind {
	case mfpgate.PrintKeyP256:
		signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case mfpgate.PrintKeyRSA:
		signer, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		err = fmt.Errorf("keys of kind %q are not known", kind)
	}
	if err != nil {
		return "", nil, fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return "", nil, fmt.Errorf("make a key: %w", err)
	}
	csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: d.UUID}}, signer)
	if err != nil {
		return "", nil, fmt.Errorf("make a certificate request: %w", err)
	}
	return string(der), csr, nil
}

// verified reads a certificate and refuses one that is not for the key, not valid now, or names another device.
func verified(der []byte, key mfpgate.Secret, d mfpgate.PrintDevice, now time.Time) (*x509.Certificate, error) {
	if len(der) == 0 || len(der) > maxCertificate {
		return nil, fmt.Errorf("a certificate of %d bytes", len(der))
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	private, err := x509.ParsePKCS8PrivateKey([]byte(key.Reveal()))
	if err != nil {
		return nil, errors.New("the device's key cannot be read")
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, errors.New("the device's key cannot sign")
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(c.PublicKey) {
		return nil, errors.New("the certificate is for another key")
	}
	if c.BasicConstraintsValid && c.IsCA {
		return nil, errors.New("the certificate is an authority's, with which the device could certify others")
	}
	if c.NotBefore.Sub(now) > early {
		return nil, fmt.Errorf("the certificate is good from %s on only", c.NotBefore.UTC().Format(time.DateOnly))
	}
	if !now.Before(c.NotAfter) {
		return nil, fmt.Errorf("the certificate expired on %s", c.NotAfter.UTC().Format(time.DateOnly))
	}
	for _, u := range c.URIs {
		if id := mfpgate.CleanUUID(u.String()); strings.HasPrefix(u.String(), "urn:uuid:") && id != mfpgate.CleanUUID(d.UUID) {
			return nil, errors.New("the certificate names another device")
		}
	}
	return c, nil
}

// fingerprint is the SHA-256 of a certificate, in hex.
func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}
