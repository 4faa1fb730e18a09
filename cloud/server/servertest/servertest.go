// Package servertest runs a region inside a test: the real server on TLS and loopback, with a state folder of the test's
// own and a store in memory. It ends with the test, and fails it if the server does not end cleanly.
package servertest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/cloud/server/region"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
)

// PushInterval is short, so that a test sees a channel's beats.
const PushInterval = 20 * time.Millisecond

// Region is a running region.
type Region struct {
	Name     string
	URL      string
	Services string // URL of the services, which is URL unless they listen by themselves
	Dir      string
	Folder   *provision.Folder
	Roots    *x509.CertPool
	Mail     *Mailbox // what its print service mailed
	Stop     func()   // ends it before the test does
	log      syncBuffer
}

// Option changes how a region is run.
type Option func(*server.Options)

// Named has the region be another one than jp.
func Named(region string) Option { return func(o *server.Options) { o.Region = region } }

// Connected lets the region's roles call each other, and others.
func Connected(connect region.Connect) Option {
	return func(o *server.Options) { o.Moves.Connect = connect }
}

// Codes sets how long a code of the print service is good, and how long to wait between two polls of it.
func Codes(lifetime, interval time.Duration) Option {
	return func(o *server.Options) { o.CodeLifetime, o.CodeInterval = lifetime, interval }
}

// Start runs a region.
func Start(t testing.TB, with ...Option) *Region {
	t.Helper()
	return StartOn(t, memory.New(), with...)
}

// StartOn runs a region on a store of the test's own.
func StartOn(t testing.TB, facts store.Store, with ...Option) *Region {
	t.Helper()
	return run(t, facts, t.TempDir(), server.Listening{Address: "127.0.0.1:0"}, with...)
}

func run(t testing.TB, facts store.Store, dir string, l server.Listening, with ...Option) *Region {
	t.Helper()
	clock := mfpgate.SystemClock{}
	r := &Region{Dir: dir, Mail: newMailbox()}
	var level telemetry.Level
	log := telemetry.NewLogger(&r.log, clock, &level, false)
	var err error
	r.Folder, err = provision.Open(r.Dir, clock)
	Must(t, err)
	options := server.Options{
		Region: "jp", Folder: r.Folder, Store: facts, Clock: clock, Log: log, PollInterval: time.Second, PushInterval: PushInterval, Mailer: r.Mail,
	}
	for _, o := range with {
		o(&options)
	}
	s, err := server.New(options)
	Must(t, err)
	r.Name = options.Region
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan [2]string, 1), make(chan error, 1)
	go func() { ended <- s.Run(ctx, l, func(u, services string) { ready <- [2]string{u, services} }) }() // Stop waits
	r.Stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the region ended with %v", err)
		}
	})
	t.Cleanup(r.Stop)
	select {
	case urls := <-ready:
		r.URL, r.Services = urls[0], cmp.Or(urls[1], urls[0])
	case err := <-ended:
		t.Fatal(err)
	}
	pem, err := os.ReadFile(r.Folder.CertificatePath())
	Must(t, err)
	r.Roots = x509.NewCertPool()
	r.Roots.AppendCertsFromPEM(pem)
	return r
}

// HTTP is a client that trusts the region and follows no redirect.
func (r *Region) HTTP(t testing.TB) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.Roots}, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// Gateway adds a gateway and returns its token.
func (r *Region) Gateway(t testing.TB, id string) mfpgate.Secret {
	t.Helper()
	token, err := r.Folder.AddGateway(id)
	Must(t, err)
	return token
}

// Operator adds an operator and returns the password.
func (r *Region) Operator(t testing.TB, name string) mfpgate.Secret {
	t.Helper()
	password, err := r.Folder.AddOperator(name)
	Must(t, err)
	return password
}

// Administrator adds an administrator of the print service and returns the password.
func (r *Region) Administrator(t testing.TB, mail string) mfpgate.Secret {
	t.Helper()
	password, err := r.Folder.AddAdministrator(mail)
	Must(t, err)
	return password
}

// Device returns a device's factory token.
func (r *Region) Device(t testing.TB, id string) mfpgate.Secret {
	t.Helper()
	key, err := r.Folder.FactoryKey()
	Must(t, err)
	return provision.DeviceToken(key, id)
}

// Package adds a generated package of size bytes.
func (r *Region) Package(t testing.TB, model, version string, size int64) api.Package {
	t.Helper()
	p, err := r.Folder.AddPackage(model, version, provision.Generated(model, version, size))
	Must(t, err)
	return p
}

// Log returns the lines written so far.
func (r *Region) Log() []string { return strings.Split(strings.TrimSpace(r.log.String()), "\n") }

// Must fails the test on an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
