package moves_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
)

// masks stand before the regions' servers, and have a region say what its real one does not: a region that is hostile, or confused.
type masks struct {
	t       *testing.T
	network string
	real    *http.Client

	mu     sync.Mutex
	lies   map[string]lie // by device
	told   map[string]int // how often each was
	orders []exchange     // what came, in its order
}

// exchange is one between regions.
type exchange struct {
	region, role string // that is called
	method, path string
	mfp          string
	step         mfpgate.MoveStep
	header       http.Header
	body         []byte

	masks *masks
	to    string // the real server
}

// lie answers in place of a region. It reports false to have the real one answer.
type lie func(w http.ResponseWriter, e exchange) bool

// open puts masks before a region. They stand on the network's .3 (jp) and .4 (us).
func (m *masks) open(region string, names []string, management, services string) (at [2]string, certificate []byte, err error) {
	base := m.network + map[string]string{"jp": ".3", "us": ".4"}[region]
	at = [2]string{base + ".1:8443", base + ".2:8443"}
	pair, err := ownCertificate(append(slices.Clone(names), base+".1", base+".2"))
	if err != nil {
		return at, nil, err
	}
	for i, role := range []string{"management", "services"} {
		to := [2]string{management, services}[i]
		l, err := net.Listen("tcp", at[i])
		if err != nil {
			return at, nil, err
		}
		s := &http.Server{ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}, ReadHeaderTimeout: time.Minute,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.serve(w, r, region, role, to) })}
		served := make(chan struct{})
		go func() { // the cleanup waits for it
			defer close(served)
			_ = s.ServeTLS(l, "", "")
		}()
		m.t.Cleanup(func() { _ = s.Close(); <-served })
	}
	return at, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), nil
}

func (m *masks) serve(w http.ResponseWriter, r *http.Request, region, role, to string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	e := exchange{region: region, role: role, method: r.Method, path: r.RequestURI, header: r.Header, body: body, masks: m, to: to}
	if between(r.URL.Path) {
		var order struct {
			mfpgate.MoveOrder
			Order mfpgate.MoveOrder `json:"order"`
		}
		_ = json.Unmarshal(body, &order)
		if order.Move == "" {
			order.MoveOrder = order.Order
		}
		e.mfp, e.step = order.MFP, order.Step
		if e.mfp == "" {
			e.mfp = r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		}
		m.mu.Lock()
		tell := m.lies[e.mfp]
		m.orders = append(m.orders, e)
		m.mu.Unlock()
		if tell != nil && tell(w, e) {
			m.mu.Lock()
			m.told[e.mfp]++
			m.mu.Unlock()
			return
		}
	}
	status, header, answer, err := e.really(r)
	if err != nil {
		panic(http.ErrAbortHandler) // the region is away
	}
	for name, values := range header {
		w.Header()[name] = values
	}
	w.WriteHeader(status)
	_, _ = w.Write(answer)
}

// between tells whether a path is one that only regions call.
func between(path string) bool {
	return strings.HasPrefix(path, "/svc/v1/registrations/") || strings.HasPrefix(path, "/mgmt/v1/orders")
}

// really asks the real region. r is for its context; nil is the test's.
func (e exchange) really(r *http.Request) (int, http.Header, []byte, error) {
	ctx := e.masks.t.Context()
	if r != nil {
		ctx = r.Context()
	}
	out, err := http.NewRequestWithContext(ctx, e.method, "https://"+e.to+e.path, bytes.NewReader(e.body))
	if err != nil {
		return 0, nil, nil, err
	}
	out.Header = e.header.Clone()
	res, err := e.masks.real.Do(out)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	return res.StatusCode, res.Header, answer, err
}

// is tells whether the exchange is a step of a role of a region.
func (e exchange) is(region, role string, step mfpgate.MoveStep) bool {
	return e.region == region && e.role == role && e.step == step
}

// says answers with a document.
func says(w http.ResponseWriter, document any) bool {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(document)
	return true
}

// refuses answers with a problem.
func refuses(w http.ResponseWriter, status int, reason, detail string) bool {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(status), "status": status, "reason": reason, "detail": detail})
	return true
}

// answering lies about what a step's order came to.
func answering(region, role string, step mfpgate.MoveStep, change func(a *mfpgate.MoveAnswer)) lie {
	return func(w http.ResponseWriter, e exchange) bool {
		if !e.is(region, role, step) {
			return false
		}
		status, _, text, err := e.really(nil)
		var a mfpgate.MoveAnswer
		if err != nil || status != http.StatusOK || json.Unmarshal(text, &a) != nil {
			return false // nothing to lie about; the real one answers
		}
		change(&a)
		return says(w, a)
	}
}

// sending changes what the services of us send to those of jp.
func sending(change func(t *mfpgate.HoldingTransfer)) lie {
	return func(w http.ResponseWriter, e exchange) bool {
		var t mfpgate.HoldingTransfer
		if e.method != http.MethodPut || e.region != "jp" || json.Unmarshal(e.body, &t) != nil {
			return false
		}
		change(&t)
		e.body, _ = json.Marshal(t)
		e.header = e.header.Clone()
		e.header.Del("Content-Length")
		status, header, answer, err := e.really(nil)
		if err != nil {
			return false
		}
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		_, _ = w.Write(answer)
		return true
	}
}

// came are the exchanges of a device so far.
func (m *masks) came(mfp string) (list []exchange) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.orders {
		if e.mfp == mfp {
			list = append(list, e)
		}
	}
	return list
}

// honest ends a device's lie.
func (m *masks) honest(mfp string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.lies, mfp)
}

// masked opens a scene whose regions wear masks, and lie of these devices.
func masked(t *testing.T, o options, lies map[string]lie) (*scene, *masks) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // the real region's, behind its own mask
	m := &masks{t: t, network: o.network, real: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		lies: lies, told: map[string]int{}}
	t.Cleanup(transport.CloseIdleConnections)
	o.front = m.open
	s := open(t, o)
	s.masks = m
	return s, m
}

// ownCertificate is good for names and addresses, signed by itself.
func ownCertificate(names []string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := mfpgate.SystemClock{}.Now()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true, IsCA: true}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
