// Package mailbox is a real SMTP server on loopback that keeps what it gets, for tests of what is mailed and for the demonstration.
package mailbox

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/port"
)

// Letter is a letter as it came.
type Letter struct {
	ID      string // Message-ID without its brackets
	From    string // of the envelope
	To      string // of the envelope; several are separated by commas
	Subject string
	Text    string
	Header  mail.Header
}

// Account is who may log in, if it is not empty.
type Account struct{ User, Password string }

// Box is a running server.
type Box struct {
	Address string         // 127.0.0.1:port; the same after Down and Up
	Roots   *x509.CertPool // who signed its certificate, for STARTTLS
	Account Account        // to be set before anybody connects
	Came    func(Letter)   // is told of each letter; to be set before anybody connects. May be nil

	tls    *tls.Config
	mu     sync.Mutex
	came   chan struct{} // is closed and replaced when a letter comes
	kept   []Letter
	tries  int
	code   int
	server *smtp.Server
	ended  chan struct{}
}

// Start runs a server until the test ends.
func Start(t testing.TB) *Box {
	t.Helper()
	b, err := Open(port.Free(t, "127.0.0.1")) // it comes again after Down
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Down)
	return b
}

// Open runs a server until Down.
func Open(address string) (*Box, error) {
	b := &Box{Address: address, came: make(chan struct{})}
	if err := b.certify(); err != nil {
		return nil, err
	}
	return b, b.up()
}

// Up listens, again after Down.
func (b *Box) Up(t testing.TB) {
	t.Helper()
	if err := b.up(); err != nil {
		t.Fatal(err)
	}
}

func (b *Box) up() error {
	l, err := net.Listen("tcp", b.Address)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Address = l.Addr().String()
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{box: b}, nil }))
	s.Domain, s.TLSConfig, s.AllowInsecureAuth, s.MaxMessageBytes = "mailbox.test", b.tls, true, 1<<20
	s.ErrorLog = log.New(io.Discard, "", 0) // clients that go away
	s.ReadTimeout, s.WriteTimeout = time.Minute, time.Minute
	ended := make(chan struct{})
	b.server, b.ended = s, ended
	go func() { // Down waits for it
		defer close(ended)
		_ = s.Serve(l)
	}()
	return nil
}

// Down refuses connections until Up.
func (b *Box) Down() {
	b.mu.Lock()
	server, ended := b.server, b.ended
	b.server = nil
	b.mu.Unlock()
	if server != nil {
		_ = server.Close()
		<-ended
	}
}

// Refuse answers every letter with a code, such as 451 or 550, from now on; 0 takes them.
func (b *Box) Refuse(code int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.code = code
}

// Letters returns what has come.
func (b *Box) Letters() []Letter {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Letter(nil), b.kept...)
}

// Tries is how many letters were offered, those that were refused among them.
func (b *Box) Tries() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tries
}

// Await blocks until n letters have come, and returns all that have.
func (b *Box) Await(t testing.TB, n int) []Letter {
	t.Helper()
	return b.AwaitThat(t, func(all []Letter) bool { return len(all) >= n })
}

// AwaitTo blocks until a letter to an address has come, and returns the last of them.
func (b *Box) AwaitTo(t testing.TB, to string) Letter {
	t.Helper()
	var found Letter
	b.AwaitThat(t, func(all []Letter) bool {
		for _, l := range all {
			if l.To == to {
				found = l
			}
		}
		return found.ID != ""
	})
	return found
}

// AwaitThat blocks until the letters that have come are as wanted.
func (b *Box) AwaitThat(t testing.TB, wanted func([]Letter) bool) []Letter {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		b.mu.Lock()
		kept, came := append([]Letter(nil), b.kept...), b.came
		b.mu.Unlock()
		if wanted(kept) {
			return kept
		}
		select {
		case <-came:
		case <-ctx.Done():
			t.Fatalf("%d letters came, not those that the test waits for: %+v", len(kept), kept)
		}
	}
}

type session struct {
	box  *Box
	from string
	to   []string
	in   bool // logged in
}

func (s *session) AuthMechanisms() []string {
	if s.box.Account == (Account{}) {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if (Account{user, password}) != s.box.Account {
			return smtp.ErrAuthFailed
		}
		s.in = true
		return nil
	}), nil
}

func (s *session) Reset() { s.from, s.to = "", nil }

func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.box.Account != (Account{}) && !s.in {
		return smtp.ErrAuthRequired
	}
	s.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	l, err := read(raw)
	if err != nil {
		return &smtp.SMTPError{Code: 554, Message: err.Error()}
	}
	l.From, l.To = s.from, strings.Join(s.to, ",")
	b := s.box
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tries++
	if b.code != 0 {
		return &smtp.SMTPError{Code: b.code, EnhancedCode: smtp.EnhancedCode{b.code / 100, 0, 0}, Message: "refused by the test"}
	}
	b.kept = append(b.kept, l)
	if b.Came != nil {
		b.Came(l)
	}
	close(b.came)
	b.came = make(chan struct{})
	return nil
}

// read decodes a letter of one part.
func read(raw []byte) (Letter, error) {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return Letter{}, err
	}
	body := m.Body
	switch encoding := m.Header.Get("Content-Transfer-Encoding"); strings.ToLower(encoding) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "", "7bit", "8bit":
	default:
		return Letter{}, errors.New("cannot decode " + encoding)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return Letter{}, err
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	return Letter{ID: strings.Trim(m.Header.Get("Message-Id"), "<>"), Subject: subject, Text: strings.ReplaceAll(string(text), "\r\n", "\n"), Header: m.Header}, err
}

// certify makes a certificate for the loopback address.
func (b *Box) certify() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := mfpgate.SystemClock{}.Now()
	form := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	b.Roots = x509.NewCertPool()
	b.Roots.AddCert(leaf)
	b.tls = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}, MinVersion: tls.VersionTLS12}
	return nil
}

// PEM is the server's certificate, for programs that are told of it by a file.
func (b *Box) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.tls.Certificates[0].Certificate[0]})
}
