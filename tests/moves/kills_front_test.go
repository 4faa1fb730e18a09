package moves_test

import (
	"bytes"
	"context"
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
	random "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
)

// When a message of a move meets a strike.
const (
	arriving = "arriving" // before it is delivered
	taken    = "taken"    // what it asks for is done, and nobody has heard of it
	answered = "answered" // the answer has gone out
)

// strike is a process that is to be killed at a moment of a device's move.
type strike struct {
	victim string // jp, us, gateway or device, or several with a + in between
	call   string // as front.callOf names it
	phase  string
	within time.Duration // it is killed up to so much later
	abort  bool          // the move is aborted when the source is drained
}

func (k strike) String() string {
	text := k.victim + " at " + k.call + "/" + k.phase
	if k.within > 0 {
		text += "+"
	}
	if k.abort {
		text += " of a move that is taken back"
	}
	return text
}

// front stands before both roles of both regions. All that peers, the gateway and devices say to them comes by here: it holds back,
// repeats and loses what belongs to moves, and kills.
type front struct {
	client  *http.Transport
	kill    func(victim, mfp string)
	abort   func(mfpgate.MoveID)
	lie     func(region string, answer []byte) []byte // in place of what the gateway is told of moves
	servers []*http.Server
	tasks   sync.WaitGroup
	late    sync.WaitGroup // messages that are still to be delivered
	stop    context.Context
	end     context.CancelFunc

	mu      sync.Mutex
	random  *random.Rand
	trouble int // of a hundred messages, how many are held back, repeated or lost
	strike  *strike
	mfp     string // whose move the strike is for
	hit     bool
	moves   map[mfpgate.MoveID]string // MFPs
	devices map[mfpgate.DeviceID]string
	data    map[string]*ledger // by MFP
	stale   []func()           // messages that come once more when all is over
	did     map[string]int     // how often which trouble was made
}

// ledger is what a device was told of its data.
type ledger struct {
	authorization string
	home          string // region that took the last item
	taken         int
	items         map[string]values // by class/name
}

// values are what an item can be: the last that was acknowledged, if any was, and those that were tried since.
type values struct {
	acknowledged bool
	can          [][]byte
}

func newFront(seed uint64) *front {
	f := &front{random: random.New(random.NewPCG(seed, 7)), moves: map[mfpgate.MoveID]string{}, devices: map[mfpgate.DeviceID]string{}, data: map[string]*ledger{},
		did: map[string]int{}, client: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // its origins are the test's own
	f.stop, f.end = context.WithCancel(context.Background()) // close
	return f
}

func (f *front) close() {
	f.end()
	for _, s := range f.servers {
		_ = s.Close()
	}
	f.tasks.Wait()
	f.late.Wait()
	f.client.CloseIdleConnections()
}

// open is regions.Options.Front. It listens on .3 and .4 of the network.
func (f *front) open(network string) func(region string, names []string, management, services string) ([2]string, []byte, error) {
	return func(region string, names []string, management, services string) (at [2]string, _ []byte, err error) {
		base := network + map[string]string{"jp": ".3", "us": ".4"}[region]
		certificate, text, err := certify(names, base+".1", base+".2")
		if err != nil {
			return at, nil, err
		}
		for i, to := range []string{management, services} {
			at[i] = base + []string{".1", ".2"}[i] + ":8443"
			listener, err := net.Listen("tcp", at[i])
			if err != nil {
				return at, nil, err
			}
			proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "https", Host: to})
			proxy.Transport = f.client
			proxy.ErrorLog = log.New(io.Discard, "", 0)
			proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) } // the region is away
			s := &http.Server{Handler: f.handler(region, proxy), ErrorLog: proxy.ErrorLog, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}}
			f.servers = append(f.servers, s)
			f.tasks.Go(func() { _ = s.ServeTLS(listener, "", "") })
		}
		return at, text, nil
	}
}

func certify(names []string, addresses ...string) (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	for _, a := range addresses {
		c.IPAddresses = append(c.IPAddresses, net.ParseIP(a))
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

func (f *front) handler(region string, to http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodGet && strings.HasSuffix(q.URL.Path, "/moves") && f.lie != nil {
			f.falsify(region, to, w, q)
			return
		}
		if q.Method == http.MethodGet && q.URL.Path != "/device/v1/directive" {
			to.ServeHTTP(w, q)
			return
		}
		body, err := io.ReadAll(io.LimitReader(q.Body, 16<<20))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if mfp, item, ok := dataOf(q); ok {
			f.keep(region, to, w, q, body, mfp, item)
			return
		}
		call, mfp := f.callOf(region, q, body)
		f.pass(call, mfp, region, to, w, q, body)
	})
}

// send delivers a message whoever waits for the answer; nil is none.
func (f *front) send(to http.Handler, q *http.Request, body []byte) (answer *httptest.ResponseRecorder) {
	ctx, cancel := context.WithTimeout(f.stop, 30*time.Second)
	defer cancel()
	again := q.Clone(ctx)
	again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	again.TransferEncoding = nil
	defer func() {
		if recover() != nil { // as ReverseProxy says that an answer broke off
			answer = nil
		}
	}()
	answer = httptest.NewRecorder()
	to.ServeHTTP(answer, again)
	return answer
}

func give(w http.ResponseWriter, answer *httptest.ResponseRecorder) {
	if answer == nil {
		panic(http.ErrAbortHandler)
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
	_ = http.NewResponseController(w).Flush()
}

// pass delivers a message of a move, as well as it goes.
func (f *front) pass(call, mfp, region string, to http.Handler, w http.ResponseWriter, q *http.Request, body []byte) {
	fate, delay := f.fate(call)
	switch fate {
	case "late": // who sent it believes that it did not arrive, and sends it again before
		f.later(delay, to, q, body)
		panic(http.ErrAbortHandler)
	case "delayed":
		f.pause(delay)
	case "twice":
		f.later(delay, to, q, body)
	case "stale":
		again := q.Clone(context.WithoutCancel(q.Context()))
		f.mu.Lock()
		f.stale = append(f.stale, func() { f.send(to, again, body) })
		f.mu.Unlock()
	}
	f.hitAt(call, arriving, mfp)
	answer := f.send(to, q, body)
	f.learn(answer)
	if f.is(call, mfp, "source/drain") { // for moves that are to be taken back
		f.abortMove(mfp)
	}
	if call == "device/directive" && (answer == nil || answer.Code != http.StatusOK) {
		call = "" // there is none yet
	}
	if victim := f.hitAt(call, taken, mfp); slices.Contains(strings.Split(victim, "+"), region) || fate == "unheard" {
		panic(http.ErrAbortHandler)
	}
	give(w, answer)
	f.hitAt(call, answered, mfp)
}

// fate is what becomes of a message.
func (f *front) fate(call string) (string, time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if call == "" || f.random.IntN(100) >= f.trouble {
		return "", 0
	}
	fate, within := "", 0
	switch f.random.IntN(6) {
	case 0:
		fate, within = "late", 6000
	case 1:
		fate, within = "unheard", 1
	case 2:
		fate, within = "twice", 6000
	case 3:
		fate, within = "stale", 1
	default:
		fate, within = "delayed", 1500
	}
	f.did[fate]++
	return fate, time.Duration(f.random.IntN(within)) * time.Millisecond
}

func (f *front) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-f.stop.Done():
	}
}

func (f *front) later(delay time.Duration, to http.Handler, q *http.Request, body []byte) {
	q = q.Clone(context.WithoutCancel(q.Context()))
	f.late.Go(func() {
		f.pause(delay)
		f.send(to, q, body)
	})
}

// callOf names a message of a move, and whose move it is; "" is another one.
func (f *front) callOf(region string, q *http.Request, body []byte) (call, mfp string) {
	var said struct {
		mfpgate.MoveOrder
		Order  mfpgate.MoveOrder `json:"order"`
		Device mfpgate.DeviceID  `json:"deviceId"`
		DryRun bool              `json:"dryRun"`
	}
	_ = json.Unmarshal(body, &said)
	path := strings.Split(strings.Trim(q.URL.Path, "/"), "/")
	at := func(prefix string) bool { return strings.HasPrefix(q.URL.Path, prefix) }
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case at("/svc/v1/registrations/") && q.Method == http.MethodPost:
		call, mfp = "source/"+string(said.Step), said.MFP
	case at("/svc/v1/registrations/") && q.Method == http.MethodPut:
		call, mfp = "transfer/"+string(said.Order.Step), said.Order.MFP
	case at("/mgmt/v1/orders"):
		call, mfp = "manager/"+string(said.Step), said.MFP
	case at("/svc/v1/devices/") && path[len(path)-1] == "check-ins" && region == "jp":
		call, mfp = "device/arrive", path[3]
	case at("/device/v1/directive/ack"):
		call, mfp = "device/ack", f.moves[said.Move]
	case at("/device/v1/directive"):
		call, mfp = "device/directive", f.whose(q.Header.Get("Authorization"))
	case at("/v1/gateways/") && len(path) == 4 && path[3] == "moves" && !said.DryRun:
		call, mfp = "gateway/start", f.devices[said.Device]
	case at("/v1/gateways/") && len(path) == 6 && path[3] == "moves":
		call, mfp = "gateway/"+path[5], f.moves[mfpgate.MoveID(path[4])]
	}
	if said.Move != "" && said.MFP != "" {
		f.moves[said.Move] = said.MFP
	}
	return call, mfp
}

// whose tells which device has a credential.
func (f *front) whose(authorization string) string {
	for mfp, l := range f.data {
		if l.authorization == authorization {
			return mfp
		}
	}
	return ""
}

// learn reads which device a move is of.
func (f *front) learn(answer *httptest.ResponseRecorder) {
	var m mfpgate.Move
	if answer != nil && json.Unmarshal(answer.Body.Bytes(), &m) == nil && m.ID != "" && m.MFP != "" {
		f.mu.Lock()
		f.moves[m.ID] = m.MFP
		f.mu.Unlock()
	}
}
