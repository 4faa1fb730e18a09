package approvaltest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
)

// Call names a method of Service.
type Call string

// The calls.
const (
	RequestCode Call = "RequestCode"
	Redeem      Call = "Redeem"
	Enter       Call = "Enter"
	Entered     Call = "Entered"
	AllowUser   Call = "AllowUser"
	Send        Call = "Send" // of Mailer
)

// Service is a print service. Its exported fields are to be set before it is used, or with Set.
type Service struct {
	Clock    mfpgate.Clock
	Key      mfpgate.PrintKey
	NoUsers  bool              // it has no list of users
	Lifetime time.Duration     // of a code; 0 is 15 minutes
	Interval time.Duration     // that it names
	Least    time.Duration     // between two polls, else slow_down; 0: it never says so
	Replay   bool              // a granted code is granted again
	Slow     int               // looks at an operation before it is done
	Pushes   bool              // it tells of changes
	Storm    func() error      // what each wait for a change returns at once; nil: it waits
	Becomes  mfpgate.PrintUser // of each user whom a call names
	Page     string            // verification URI; "" is https://print.example/device

	// Before and After are called around each call with what it is about (a code's request id, a device); an error is the call's
	// answer, in After's case although the call was made. Nil is no error.
	Before, After func(call Call, about string) error
	// Alter changes a code, a printer before they are given out, a certificate before it is signed; may be nil.
	AlterCode    func(n int, c *mfpgate.Code)
	AlterPrinter func(p *mfpgate.Printer)
	AlterLeaf    func(c *x509.Certificate)

	mu        sync.Mutex
	codes     []*Code
	printers  map[string]*Printer // by device UUID
	calls     map[Call]int
	polls     []time.Time
	ca        *ecdsa.PrivateKey
	changed   chan struct{} // closed at a change
	listening int           // who wait for one
}

// Code is a code that the service has issued.
type Code struct {
	mfpgate.CodeRequest
	mfpgate.Code
	Issued   time.Time
	Decided  bool
	Approved bool
	Redeemed bool
	polled   time.Time
}

// Printer is what the service has of a device.
type Printer struct {
	mfpgate.Printer
	Users   []string
	Entered int // calls that entered it
	looks   int
}

// Set changes the service while it is used.
func (s *Service) Set(fn func(*Service)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(s)
}

func (s *Service) around(call Call, about string, fn func() error) error {
	s.mu.Lock()
	if s.calls == nil {
		s.calls, s.printers, s.changed = map[Call]int{}, map[string]*Printer{}, make(chan struct{})
	}
	s.calls[call]++
	before, after := s.Before, s.After
	s.mu.Unlock()
	if before != nil {
		if err := before(call, about); err != nil {
			return err
		}
	}
	s.mu.Lock()
	err := fn()
	s.mu.Unlock()
	if after != nil {
		if err := after(call, about); err != nil {
			return err
		}
	}
	return err
}

// Traits implements approval.PrintService.
func (s *Service) Traits() mfpgate.PrintServiceTraits {
	s.mu.Lock()
	defer s.mu.Unlock()
	return mfpgate.PrintServiceTraits{Key: s.Key, AllowsUser: !s.NoUsers}
}

// RequestCode implements approval.PrintService.
func (s *Service) RequestCode(_ context.Context, r mfpgate.CodeRequest) (c mfpgate.Code, err error) {
	err = s.around(RequestCode, r.ID, func() error {
		if r.Purpose == mfpgate.PurposeAllowUser && s.byID(r.Printer) == nil {
			return mfpgate.ErrNoPrinter
		}
		n := len(s.codes) + 1
		page := s.Page
		if page == "" {
			page = "https://print.example/device"
		}
		c = mfpgate.Code{DeviceCode: mfpgate.Secret(fmt.Sprintf("device-code-%d", n)), UserCode: mfpgate.Secret(fmt.Sprintf("BCDF-%04d", n)),
			VerificationURI: page, Lifetime: s.lifetime(), Interval: s.Interval}
		if s.Pushes {
			c.Events = "https://print.example/events"
		}
		kept := &Code{CodeRequest: r, Code: c, Issued: s.Clock.Now()}
		s.codes = append(s.codes, kept)
		if s.AlterCode != nil {
			s.AlterCode(n, &c)
		}
		return nil
	})
	return c, err
}

func (s *Service) lifetime() time.Duration {
	if s.Lifetime == 0 {
		return 15 * time.Minute
	}
	return s.Lifetime
}

func (s *Service) byID(id string) *Printer {
	for _, p := range s.printers {
		if p.ID == id {
			return p
		}
	}
	return nil
}

// Redeem implements approval.PrintService.
func (s *Service) Redeem(_ context.Context, c mfpgate.Code, verifier mfpgate.Secret) (g mfpgate.Grant, err error) {
	err = s.around(Redeem, c.DeviceCode.Reveal(), func() error {
		now := s.Clock.Now()
		s.polls = append(s.polls, now)
		for _, k := range s.codes {
			if k.DeviceCode != c.DeviceCode {
				continue
			}
			early := s.Least > 0 && !k.Decided && now.Sub(k.polled) < s.Least
			k.polled = now
			switch {
			case k.Verifier != verifier, k.Redeemed && !s.Replay:
				return mfpgate.ErrInvalidGrant
			case now.Sub(k.Issued) >= s.lifetime():
				return mfpgate.ErrCodeExpired
			case early:
				return mfpgate.ErrSlowDown
			case !k.Decided:
				return mfpgate.ErrPending
			case !k.Approved:
				return mfpgate.ErrDenied
			}
			k.Redeemed = true
			g = mfpgate.Grant{Token: "token of " + c.DeviceCode, Expires: now.Add(time.Hour)}
			return nil
		}
		return mfpgate.ErrInvalidGrant
	})
	return g, err
}

// AwaitEvent implements approval.PrintService.
func (s *Service) AwaitEvent(ctx context.Context, _ mfpgate.Code) error {
	s.mu.Lock()
	changed, pushes, storm := s.changed, s.Pushes, s.Storm
	s.listening++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.listening--
	}()
	if !pushes {
		return mfpgate.ErrNoEvents
	}
	if storm != nil {
		return storm()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
		return nil
	}
}

func (s *Service) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Enter implements approval.PrintService.
func (s *Service) Enter(_ context.Context, _ mfpgate.Grant, r mfpgate.PrinterRequest) (e mfpgate.Entering, err error) {
	err = s.around(Enter, r.Device.UUID, func() error {
		p := s.printers[r.Device.UUID]
		if p == nil {
			p = &Printer{Printer: mfpgate.Printer{ID: fmt.Sprintf("printer-%d", len(s.printers)+1), URI: "ipps://print.example/" + r.Device.UUID}}
			s.printers[r.Device.UUID] = p
		}
		p.Entered++
		if p.User = s.Becomes; p.User != mfpgate.PrintUserNotAllowed {
			p.allow(r.User)
		}
		if s.Key != mfpgate.PrintKeyNone {
			if p.Certificate, err = s.certify(r.CSR); err != nil {
				return fmt.Errorf("%w: %w", mfpgate.ErrRefused, err)
			}
		}
		e = s.entering(p, r.Device.UUID)
		return nil
	})
	return e, err
}

func (s *Service) entering(p *Printer, uuid string) mfpgate.Entering {
	if p.looks++; p.looks <= s.Slow {
		return mfpgate.Entering{Operation: uuid, Wait: time.Second}
	}
	out := p.Printer
	if s.AlterPrinter != nil {
		s.AlterPrinter(&out)
	}
	return mfpgate.Entering{Done: true, Printer: out}
}

// Entered implements approval.PrintService.
func (s *Service) Entered(_ context.Context, _ mfpgate.Grant, operation string) (e mfpgate.Entering, err error) {
	err = s.around(Entered, operation, func() error {
		p := s.printers[operation]
		if p == nil {
			return mfpgate.ErrNoPrinter
		}
		e = s.entering(p, operation)
		return nil
	})
	return e, err
}

// AllowUser implements approval.PrintService.
func (s *Service) AllowUser(_ context.Context, _ mfpgate.Grant, printer, user string) (became mfpgate.PrintUser, err error) {
	err = s.around(AllowUser, printer, func() error {
		p := s.byID(printer)
		if p == nil {
			return mfpgate.ErrNoPrinter
		}
		if became = s.Becomes; became != mfpgate.PrintUserNotAllowed {
			p.allow(user)
		}
		return nil
	})
	return became, err
}

func (p *Printer) allow(user string) {
	for _, u := range p.Users {
		if u == user {
			return
		}
	}
	p.Users = append(p.Users, user)
}

// certify signs a PKCS #10 request as any authority would.
func (s *Service) certify(csr []byte) ([]byte, error) {
	r, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, err
	}
	if err := r.CheckSignature(); err != nil {
		return nil, err
	}
	if s.ca == nil {
		if s.ca, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, err
		}
	}
	now := s.Clock.Now()
	leaf := &x509.Certificate{SerialNumber: big.NewInt(int64(len(s.printers))), Subject: r.Subject, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0)}
	if s.AlterLeaf != nil {
		s.AlterLeaf(leaf)
	}
	issuer := &x509.Certificate{Subject: pkix.Name{CommonName: "print service"}}
	return x509.CreateCertificate(rand.Reader, leaf, issuer, r.PublicKey, s.ca)
}

// Decide is the administrator's decision on the newest code of a user that is not decided; it reports whether there is one that lives.
func (s *Service) Decide(user string, approve bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.codes) - 1; i >= 0; i-- {
		if k := s.codes[i]; k.User == user && !k.Decided && s.Clock.Now().Sub(k.Issued) < s.lifetime() {
			k.Decided, k.Approved = true, approve
			s.tell()
			return true
		}
	}
	return false
}

// Codes are those that were issued.
func (s *Service) Codes() (list []Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.codes {
		list = append(list, *k)
	}
	return list
}

// Printers are those that were entered.
func (s *Service) Printers() (list []Printer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.printers {
		list = append(list, *p)
	}
	return list
}

// Forget removes every printer, as an administrator of the service may.
func (s *Service) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.printers)
}

// Listening counts who wait for a change now.
func (s *Service) Listening() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listening
}

// Calls counts the calls of a kind.
func (s *Service) Calls(call Call) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[call]
}

// Polls are the times of the polls that were answered.
func (s *Service) Polls() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.polls...)
}
