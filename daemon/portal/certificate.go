package portal

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

const (
	// certificateFile holds certificate and key together, so that a rename replaces both at once.
	certificateFile = "certificate.pem"

	validFor    = 825 * 24 * time.Hour // the most that Apple's systems take, also of a certificate that the user trusts
	renewBefore = 60 * 24 * time.Hour
	backdated   = 24 * time.Hour // browsers' clocks lag
	retryEvery  = time.Hour      // after a renewal that failed
)

// hostName is what fits a certificate: letters, digits, hyphens and dots (RFC 5280 §4.2.1.6).
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,62}\.?)*$`)

// CertificateOptions say which certificate the portal shows.
type CertificateOptions struct {
	Cert, Key string   // PEM files, leaf first; "" for an own certificate
	Dir       string   // of the own certificate; made if missing
	Names     []string // host names and addresses that the own certificate is for
	Clock     mfpgate.Clock
	Log       telemetry.Logger
}

// Certificate is the portal's, kept good: an own one is made anew when its names change or its end is near.
type Certificate struct {
	CertificateOptions

	mu    sync.Mutex
	pair  *tls.Certificate
	tried time.Time
}

// OpenCertificate reads the certificate, or makes an own one.
func OpenCertificate(o CertificateOptions) (*Certificate, error) {
	c := &Certificate{CertificateOptions: o}
	return c, c.Reload()
}

// TLS is the portal's configuration: TLS 1.2 at least, and the certificate that is good at each handshake.
func (c *Certificate) TLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current(), nil }}
}

// Reload reads the files again. On an error the certificate before stays in use.
func (c *Certificate) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return fmt.Errorf("portal.tls: %w", err)
		}
		c.pair = &pair
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.path(), c.path())
	if err == nil && c.good(pair.Leaf) {
		c.pair = &pair
		return nil
	}
	return c.renew()
}

func (c *Certificate) path() string { return filepath.Join(c.Dir, certificateFile) }

func (c *Certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.Clock.Now()
	if c.Cert == "" && !c.good(c.pair.Leaf) && now.Sub(c.tried) >= retryEvery {
		c.tried = now
		if err := c.renew(); err != nil {
			c.Log.Error().Err(err).Msg(event.PortalCertified)
		}
	}
	return c.pair
}

// Certifies reports whether the certificate names this host letter by letter. A wildcard does not: it stands for hosts that are not ours, too.
func (c *Certificate) Certifies(host string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ip := net.ParseIP(host); ip != nil {
		return slices.ContainsFunc(c.pair.Leaf.IPAddresses, ip.Equal)
	}
	return !strings.Contains(host, "*") && slices.ContainsFunc(c.pair.Leaf.DNSNames, func(name string) bool { return strings.EqualFold(name, host) })
}

// good reports whether an own certificate may stay. Names beyond those wanted do no harm.
func (c *Certificate) good(leaf *x509.Certificate) bool {
	now := c.Clock.Now()
	if now.Before(leaf.NotBefore) || !now.Before(leaf.NotAfter.Add(-renewBefore)) {
		return false
	}
	return !slices.ContainsFunc(c.Names, func(name string) bool { return leaf.VerifyHostname(name) != nil })
}

func (c *Certificate) renew() error {
	text, err := own(c.Names, c.Clock.Now())
	if err != nil {
		return fmt.Errorf("make the portal's certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return fmt.Errorf("make the portal's certificate: %w", err)
	}
	if err := c.write(text); err != nil {
		return fmt.Errorf("keep the portal's certificate: %w", err)
	}
	c.pair = &pair
	c.Log.Info().Str(field.File, c.path()).Str(field.Text, "SHA-256 "+Fingerprint(pair.Leaf)).Msg(event.PortalCertified)
	return nil
}

// write replaces the file whole; os.CreateTemp makes it 0600.
func (c *Certificate) write(text []byte) (err error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(c.Dir, ".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), c.path())
}

// own makes a key and a certificate signed by it. It is no authority (IsCA is false): who trusts it trusts these names alone.
func own(names []string, now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "mfpgate", Organization: names[:min(len(names), 1)]},
		NotBefore: now.Add(-backdated), NotAfter: now.Add(validFor - backdated), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: der}, {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := pem.Encode(&out, block); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// CertificateNames are the names of an own certificate: the machine's, the site's, the address that the portal listens on
// unless that is every address, and loopback. Names that no certificate can hold are left out.
func CertificateNames(hostname, site, listenHost string) []string {
	var names []string
	for _, name := range []string{hostname, site, listenHost, "localhost", "127.0.0.1", "::1"} {
		ip := net.ParseIP(name)
		switch {
		case slices.Contains(names, name), ip != nil && ip.IsUnspecified():
		case ip == nil && !hostName.MatchString(name):
		default:
			names = append(names, name)
		}
	}
	return names
}

// Fingerprint is how browsers show a certificate's SHA-256.
func Fingerprint(leaf *x509.Certificate) string {
	sum := sha256.Sum256(leaf.Raw)
	text := fmt.Appendf(nil, "% X", sum[:])
	return string(bytes.ReplaceAll(text, []byte(" "), []byte(":")))
}
