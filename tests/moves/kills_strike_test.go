package moves_test

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
)

// arm has a process killed at a moment of a device's move.
func (f *front) arm(k strike, mfp string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.strike, f.mfp, f.hit = &k, mfp, false
}

// struck reports whether it was.
func (f *front) struck() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hit
}

// is reports whether this is the call of the move that a strike is for.
func (f *front) is(call, mfp, wanted string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.strike != nil && call == wanted && mfp == f.mfp
}

// hitAt kills if this is the moment, and returns whom.
func (f *front) hitAt(call, phase, mfp string) string {
	f.mu.Lock()
	k := f.strike
	if k == nil || call != k.call || phase != k.phase || mfp != f.mfp {
		f.mu.Unlock()
		return ""
	}
	f.strike = nil
	delay := time.Duration(0)
	if k.within > 0 {
		delay = time.Duration(f.random.Int64N(int64(k.within)))
	}
	f.mu.Unlock()
	blow := func() {
		f.pause(delay)
		f.kill(k.victim, mfp)
		f.mu.Lock()
		f.hit = true
		f.mu.Unlock()
	}
	if delay > 0 {
		f.tasks.Go(blow)
		return ""
	}
	blow()
	return k.victim
}

func (f *front) abortMove(mfp string) {
	f.mu.Lock()
	id := mfpgate.MoveID("")
	for m, of := range f.moves {
		if of == mfp && f.strike != nil && f.strike.abort {
			id = m
		}
	}
	f.mu.Unlock()
	if id != "" {
		f.abort(id)
	}
}

// dataOf tells whether a request stores an item of a device's data.
func dataOf(q *http.Request) (mfp, item string, ok bool) {
	rest, found := strings.CutPrefix(q.URL.Path, "/svc/v1/devices/")
	mfp, item, ok = strings.Cut(rest, "/data/")
	return mfp, item, ok && found && q.Method == http.MethodPut
}

// keep delivers an item, and remembers what the device was told of it.
func (f *front) keep(region string, to http.Handler, w http.ResponseWriter, q *http.Request, body []byte, mfp, item string) {
	f.mu.Lock()
	l := f.data[mfp]
	if l == nil {
		l = &ledger{items: map[string]values{}}
		f.data[mfp] = l
	}
	l.authorization = q.Header.Get("Authorization")
	v := l.items[item]
	l.items[item] = values{v.acknowledged, append(v.can[:len(v.can):len(v.can)], body)}
	f.mu.Unlock()
	answer := f.send(to, q, body)
	if answer != nil && answer.Code < 300 {
		f.mu.Lock()
		l.items[item] = values{true, [][]byte{body}}
		l.home = region
		l.taken++
		f.mu.Unlock()
	}
	give(w, answer)
}

// told is a copy of what a device was told.
func (f *front) told(mfp string) ledger {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.data[mfp]
	if l == nil {
		return ledger{}
	}
	return ledger{l.authorization, l.home, l.taken, maps.Clone(l.items)}
}

// calm ends the trouble, and waits for what is on its way. What was kept until the end comes in any order.
func (f *front) calm() map[string]int {
	f.mu.Lock()
	f.trouble, f.strike = 0, nil
	f.mu.Unlock()
	f.late.Wait()
	f.random.Shuffle(len(f.stale), func(i, j int) { f.stale[i], f.stale[j] = f.stale[j], f.stale[i] })
	for _, send := range f.stale {
		send()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.did)
}

// falsify answers a question for moves with something else than the region says.
func (f *front) falsify(region string, to http.Handler, w http.ResponseWriter, q *http.Request) {
	answer := httptest.NewRecorder()
	to.ServeHTTP(answer, q)
	told := f.lie(region, answer.Body.Bytes())
	answer.Body = bytes.NewBuffer(told)
	answer.Header().Del("Content-Length")
	give(w, answer)
}

// fetch asks a role of a region past the front, and returns the status with the body.
func (f *front) fetch(method, address, path string, prepare func(*http.Request)) (int, []byte, error) {
	q, err := http.NewRequestWithContext(f.stop, method, "https://"+address+path, nil)
	if err != nil {
		return 0, nil, err
	}
	prepare(q)
	resp, err := f.client.RoundTrip(q)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, text, err
}
