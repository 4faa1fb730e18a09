package universaltest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
)

// Options may all be left empty.
type Options struct {
	Clock    mfpgate.Clock // nil: the machine's
	ClientID string        // "": mfpgate-test
	Scope    string        // "": that of Microsoft's service
	Lifetime time.Duration // of a code; 0: 15 min
	Interval time.Duration // that is asked for, not enforced; 0: 5 s
	Polls    int           // that find a registration still running
	PEM      bool          // certificates in PEM instead of base64
}

// Service is safe for concurrent use.
type Service struct {
	URL    string
	RootCA *x509.CertPool // of its own TLS certificate
	o      Options
	issuer *x509.Certificate // of printers
	key    *ecdsa.PrivateKey

	mu            sync.Mutex
	codes         map[string]*code // by device code
	tokens        map[string]time.Time
	registrations map[string]*registration
	printers      []*Printer
}

// Start runs the service until the test ends.
func Start(t testing.TB, o Options) *Service {
	t.Helper()
	if o.Clock == nil {
		o.Clock = mfpgate.SystemClock{}
	}
	if o.ClientID == "" {
		o.ClientID = "mfpgate-test"
	}
	if o.Scope == "" {
		o.Scope = "https://print.print.microsoft.com/.default"
	}
	if o.Lifetime == 0 {
		o.Lifetime = 15 * time.Minute
	}
	if o.Interval == 0 {
		o.Interval = 5 * time.Second
	}
	s := &Service{o: o, codes: map[string]*code{}, tokens: map[string]time.Time{}, registrations: map[string]*registration{}}
	var err error
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	now := o.Clock.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "printers"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(2 * certificateLife),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, s.key.Public(), s.key)
	if err != nil {
		t.Fatal(err)
	}
	if s.issuer, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /organizations/oauth2/v2.0/devicecode", s.deviceCode)
	mux.HandleFunc("POST /organizations/oauth2/v2.0/token", s.token)
	mux.HandleFunc("POST /api/v1.0/register", s.register)
	mux.HandleFunc("GET /api/v1.0/register", s.registered)
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	s.URL, s.RootCA = server.URL, x509.NewCertPool()
	s.RootCA.AddCert(server.Certificate())
	return s
}

// ClientID is that of the one application that the service knows.
func (s *Service) ClientID() string { return s.o.ClientID }

// Approve is what an administrator does with a user code on the page.
func (s *Service) Approve(userCode string) error { return s.decide(userCode, "approved") }

// Decline is the opposite.
func (s *Service) Decline(userCode string) error { return s.decide(userCode, "declined") }

// Printers are those that were registered, in that order.
func (s *Service) Printers() []Printer {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Printer, len(s.printers))
	for i, p := range s.printers {
		out[i] = *p
	}
	return out
}

// Issuer is who certifies the printers.
func (s *Service) Issuer() *x509.Certificate { return s.issuer }
