package registration_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/tests/mailbox"
)

// killer stands before the print service of a region and in the mail server, and kills the gateway at one moment of its choice.
type killer struct {
	*httptest.Server
	region *servertest.Region
	box    *mailbox.Box
	proxy  *httputil.ReverseProxy

	decision sync.RWMutex // held while an administrator decides, and for reading by each poll: so the first poll after it is known
	decided  bool

	mu     sync.Mutex
	pid    int    // of the gateway
	at     string // when to kill it: a call and how far that is; "" is never
	struck bool
}

// newKiller starts a region whose codes are good for a minute, and a mail server.
func newKiller(t *testing.T) *killer {
	t.Helper()
	k := &killer{box: mailbox.Start(t)}
	k.Server = httptest.NewUnstartedServer(http.HandlerFunc(k.answer))
	k.Config.ErrorLog = log.New(io.Discard, "", 0) // answers that are not given
	k.region = servertest.Start(t, servertest.Codes(killCodeLife, killInterval), func(o *server.Options) { o.PublicURL = "http://" + k.Listener.Addr().String() })
	to, err := url.Parse(k.region.URL)
	if err != nil {
		t.Fatal(err)
	}
	k.proxy = httputil.NewSingleHostReverseProxy(to)
	k.proxy.Transport = k.region.HTTP(t).Transport
	k.proxy.ErrorLog = k.Config.ErrorLog
	k.proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) } // one of both is gone
	k.Start()
	t.Cleanup(k.Close)
	k.box.Came = func(l mailbox.Letter) { k.strike("letter to "+l.To, "taken") }
	return k
}

// arm has the gateway of a process id killed once.
func (k *killer) arm(pid int, at string) {
	k.decision.Lock()
	k.decided = false
	k.decision.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pid, k.at, k.struck = pid, at, false
}

// hit reports whether the gateway was killed.
func (k *killer) hit() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.struck
}

// strike kills the gateway if this is the moment.
func (k *killer) strike(call, phase string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.struck || k.at != call+"/"+phase {
		return false
	}
	k.struck = true
	_ = syscall.Kill(k.pid, syscall.SIGKILL) // the test sees whether it died
	return true
}

// decide types a code for one user, between two polls.
func (k *killer) decide(t *testing.T, administrator string, password mfpgate.Secret, code, user string) (taken bool) {
	t.Helper()
	k.decision.Lock()
	defer k.decision.Unlock()
	status, _ := k.region.Decide(t, administrator, password, code, user)
	k.decided = k.decided || status == http.StatusOK
	return status == http.StatusOK
}

// callOf names what a request asks for, "" for what nothing hangs on.
func (k *killer) callOf(q *http.Request) string {
	switch path := q.URL.Path; {
	case q.Method == http.MethodPost && path == "/oauth/device_authorization":
		return "code"
	case q.Method == http.MethodPost && path == "/oauth/token":
		if k.decided {
			return "grant"
		}
		return "poll"
	case q.Method == http.MethodPost && path == "/print/v1/printers":
		return "enter"
	case q.Method == http.MethodGet && strings.HasPrefix(path, "/print/v1/operations/"):
		return "operation"
	case q.Method == http.MethodPost && strings.HasSuffix(path, "/users"):
		return "allow"
	}
	return ""
}

func (k *killer) answer(w http.ResponseWriter, q *http.Request) {
	if q.URL.Path == "/oauth/token" {
		k.decision.RLock()
		defer k.decision.RUnlock()
	}
	call := k.callOf(q)
	if call == "" {
		k.proxy.ServeHTTP(w, q)
		return
	}
	if k.strike(call, "arriving") {
		panic(http.ErrAbortHandler) // the region never has it
	}
	answer := httptest.NewRecorder()
	k.proxy.ServeHTTP(answer, q)
	if k.strike(call, "taken") {
		panic(http.ErrAbortHandler)
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
	_ = http.NewResponseController(w).Flush()
	k.strike(call, "answered")
}
