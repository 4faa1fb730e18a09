package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	gomail "github.com/wneessen/go-mail"

	"github.com/mfpgate/mfpgate"
)

// TLS says how the connection to the server is protected.
type TLS string

// The ways. None is for a server on this machine.
const (
	StartTLS TLS = "starttls" // required, not tried (RFC 3207)
	Implicit TLS = "implicit" // from the first byte (RFC 8314 §3)
	None     TLS = "none"     // loopback addresses only
)

// Bounds of a letter, in bytes.
const (
	MaxText    = 64 << 10
	MaxSubject = 500
)

const (
	timeout = 30 * time.Second // of one connection, the TLS handshake and the letter included
	leave   = 3 * time.Second  // for a letter that is under way when its context ends
)

// ErrPlain is returned by Open for None and a server elsewhere.
var ErrPlain = errors.New("mail without TLS is for a server on a loopback address only; use starttls or implicit")

// Options say how to reach the server. Server and From are required.
type Options struct {
	Server   string // host:port
	From     string // the gateway's own address, which replies and bounces go to
	User     string // "" does not log in
	Password mfpgate.Secret
	TLS      TLS            // "" is StartTLS
	RootCAs  *x509.CertPool // nil: the system's
	Hello    string         // name in EHLO; "" is the host's
}

// Sender sends letters. It is safe for concurrent use.
type Sender struct {
	o      Options
	host   string
	port   int
	domain string // of From
}

// Open checks the options. It makes no connection.
func Open(o Options) (*Sender, error) {
	if o.TLS == "" {
		o.TLS = StartTLS
	}
	host, text, err := net.SplitHostPort(o.Server)
	if err != nil {
		return nil, fmt.Errorf("mail server: %w; write host:port", err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 || host == "" {
		return nil, fmt.Errorf("mail server %q: write host:port, such as smtp.example.com:587", o.Server)
	}
	if o.TLS == None && !mfpgate.Loopback(host) {
		return nil, fmt.Errorf("mail server %s: %w", o.Server, ErrPlain)
	}
	if o.TLS != None && o.TLS != StartTLS && o.TLS != Implicit {
		return nil, fmt.Errorf("mail tls %q: must be starttls, implicit or none", o.TLS)
	}
	from, err := mfpgate.MailAddress(o.From)
	if err != nil {
		return nil, fmt.Errorf("mail from: %w", err)
	}
	o.From = from
	return &Sender{o: o, host: host, port: int(port), domain: from[strings.LastIndexByte(from, '@')+1:]}, nil
}

// plain reports whether text has printable characters alone, so that it fits into a header.
func plain(text string) bool {
	return utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// Send hands a letter over. See the package for what its errors mean.
func (s *Sender) Send(ctx context.Context, l mfpgate.Letter) error {
	msg, err := s.message(l)
	if err != nil {
		return fmt.Errorf("letter %.60q: %w: %w", l.ID, mfpgate.ErrRefused, err)
	}
	open, done := context.WithCancel(context.WithoutCancel(ctx)) // as long as the connection
	defer done()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { // what is all but taken is not broken off, and sent twice
		_ = mfpgate.Wait(open, mfpgate.SystemClock{}, leave)
		done()
	})
	defer stop()
	client, err := s.client(open)
	if err != nil {
		return fmt.Errorf("mail server %s: %w", s.o.Server, err)
	}
	err = client.DialAndSendWithContext(ctx, msg)
	if err == nil || msg.IsDelivered() {
		return nil // an end of the connection that went wrong does not make the letter come back
	}
	var refusal *gomail.SendError
	if errors.As(err, &refusal) && refusal.ErrorCode()/100 == 5 {
		return fmt.Errorf("mail server %s: %w: %w", s.o.Server, mfpgate.ErrRefused, err)
	}
	return fmt.Errorf("mail server %s: %w", s.o.Server, err)
}

func (s *Sender) message(l mfpgate.Letter) (*gomail.Msg, error) {
	to, err := mfpgate.MailAddress(l.To)
	switch {
	case err != nil:
		return nil, err
	case l.ID == "" || strings.Trim(l.ID, idCharacters) != "":
		return nil, fmt.Errorf("id %.60q: letters, digits, dot, dash and underscore", l.ID)
	case len(l.Subject) > MaxSubject || !plain(l.Subject):
		return nil, fmt.Errorf("subject of %d bytes: %d printable ones at most", len(l.Subject), MaxSubject)
	case len(l.Text) > MaxText || !utf8.ValidString(l.Text):
		return nil, fmt.Errorf("text of %d bytes: %d of UTF-8 at most", len(l.Text), MaxText)
	}
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := errors.Join(msg.From(s.o.From), msg.To(to)); err != nil {
		return nil, err
	}
	// A subject that looks encoded (RFC 2047) would be decoded by who reads it, into anything: line breaks, text that runs backwards.
	msg.Subject(strings.ReplaceAll(l.Subject, "=?", "= ?"))
	msg.SetMessageIDWithValue(l.ID + "@" + s.domain)
	msg.SetDateWithValue(l.Date)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834 §5: nobody's holiday answers it
	msg.SetBodyString(gomail.TypeTextPlain, l.Text)
	return msg, nil
}

const idCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

// client is made anew for each letter: go-mail's keeps the state of its connection. Its connection ends with open, for go-mail waits
// for a greeting, and for the end of one, without any bound.
func (s *Sender) client(open context.Context) (*gomail.Client, error) {
	options := []gomail.Option{gomail.WithPort(s.port), gomail.WithTimeout(timeout)}
	dial := func(dialing context.Context, network, address string) (net.Conn, error) {
		dialed, err := (&net.Dialer{}).DialContext(dialing, network, address)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(open, func() { _ = dialed.Close() })
		conn := &bounded{Conn: dialed, left: maxSaid}
		if s.o.TLS != Implicit {
			return conn, nil
		}
		secured := tls.Client(conn, s.tls())
		if err := secured.HandshakeContext(dialing); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return secured, nil
	}
	options = append(options, gomail.WithDialContextFunc(dial))
	switch s.o.TLS {
	case Implicit:
		options = append(options, gomail.WithSSL())
	case StartTLS:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case None:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	}
	if s.o.TLS != None {
		options = append(options, gomail.WithTLSConfig(s.tls()))
	}
	if s.o.Hello != "" {
		options = append(options, gomail.WithHELO(s.o.Hello))
	}
	if s.o.User != "" {
		auth := gomail.SMTPAuthAutoDiscover
		if s.o.TLS == None {
			auth = gomail.SMTPAuthPlainNoEnc // on loopback, where discovery would refuse
		}
		options = append(options, gomail.WithSMTPAuth(auth), gomail.WithUsername(s.o.User), gomail.WithPassword(s.o.Password.Reveal()))
	}
	return gomail.NewClient(s.host, options...)
}

// maxSaid is how many bytes a server may say in all, TLS included.
const maxSaid = 1 << 20

// bounded is a connection of which so many bytes can be read.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the server has said more than %d bytes", maxSaid)
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func (s *Sender) tls() *tls.Config {
	return &tls.Config{ServerName: s.host, RootCAs: s.o.RootCAs, MinVersion: tls.VersionTLS12}
}
