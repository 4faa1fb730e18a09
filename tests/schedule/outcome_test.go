package schedule_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// outcome is what became of a run.
type outcome struct {
	failed  int // deliveries
	refused int // of the other service's devices
}

// end lets the other service come at its time, waits until all deliveries have ended, and watches meanwhile how many devices are served.
func (s *scene) end(t *testing.T, number int) (o outcome) {
	t.Helper()
	var others sync.WaitGroup
	refused := make(chan error, serviceAtOnce)
	for n := range serviceAtOnce {
		others.Go(func() { refused <- s.read(t, address(number, 200+n)) })
	}
	patience := time.NewTimer(ahead + acting + window + 2*rig.Deadline)
	defer patience.Stop()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for looks := 0; ; looks++ {
		s.busiest = max(s.busiest, int(s.gateway.Metric(t, `mfpgate_relay_devices{state="served"}`)))
		states := map[string]int{}
		if looks%10 == 0 {
			for _, d := range s.deliveries(t) {
				states[d.State]++
			}
		}
		if states["done"]+states["failed"] == devices {
			o.failed = states["failed"]
			break
		}
		select {
		case <-again.C:
		case <-patience.C:
			s.tell(t)
			t.Fatalf("the deliveries have not ended: %v", states)
		}
	}
	others.Wait()
	for range serviceAtOnce {
		if err := <-refused; err != nil {
			t.Logf("%s: %v", service, err)
			o.refused++
		}
	}
	return o
}

// read is one device of the other service: it comes at the planned time, comes back when it is told to, and once it is served moves a byte
// now and then until its planned time is over.
func (s *scene) read(t *testing.T, source string) error {
	clock := mfpgate.SystemClock{}
	begin := s.first.Add(serviceAfter)
	end := begin.Add(serviceTakes - time.Second)
	for wait := begin.Sub(clock.Now()); ; {
		if err := mfpgate.Wait(t.Context(), clock, wait); err != nil {
			return err
		}
		var err error
		if wait, err = s.exchange(t, source, end); err == nil || clock.Now().Add(wait).After(end) {
			return err
		}
	}
}

// exchange connects once. After a refusal it returns how long the device is to wait.
func (s *scene) exchange(t *testing.T, source string, end time.Time) (wait time.Duration, err error) {
	conn, err := s.gateway.DialFrom(source)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, rig.ConnectRequest(s.meters.Address)); err != nil {
		return 0, err
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK {
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return time.Duration(max(seconds, 1)) * time.Second, errors.New("the relay answered " + resp.Status)
	}
	one := make([]byte, 1)
	for clock := (mfpgate.SystemClock{}); clock.Now().Before(end); {
		if _, err := conn.Write(one); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(in, one); err != nil {
			return 0, err
		}
		if err := mfpgate.Wait(t.Context(), clock, 100*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// received holds what the devices, the relay and the gateway's reports say against one another.
func (s *scene) received(t *testing.T, done int) {
	t.Helper()
	got := map[string]bool{}
	for _, e := range s.heard("downloaded") { // which a device says of bytes with the package's size and SHA-256
		if e.Bytes == size && e.PackageID == s.pack {
			got[e.Device] = true
		}
	}
	if installed := distinct(s.heard("installed")); len(got) != done || len(installed) != done {
		t.Errorf("%d devices received the package and %d installed it, want %d", len(got), len(installed), done)
	}
	rig.Until(t, "the relay has counted what went through it", func() bool {
		down := 0.0
		for _, path := range []string{"splice", "copy"} {
			down += s.gateway.Metric(t, fmt.Sprintf("mfpgate_relay_bytes_total{direction=\"down\",path=%q}", path))
		}
		return down >= float64(done*size)
	})
}

// shows wants the gateway to show what was planned beside what it saw.
func (s *scene) shows(t *testing.T) {
	t.Helper()
	planned, observed := 0, 0
	var load struct{ Items []control.Load }
	s.gateway.API(t, "schedule/load", &load)
	for _, l := range load.Items {
		if l.Planned != nil {
			planned = max(planned, *l.Planned)
		}
		if l.Observed != nil {
			observed = max(observed, *l.Observed)
		}
	}
	if planned < capacity || observed < capacity-2 || observed > capacity {
		t.Errorf("the gateway says that at most %d devices were planned and %d served at once", planned, observed)
	}
	page := s.portal(t, "/schedule")
	if want := fmt.Sprintf("Most served at once in the last 24 hours: %d", observed); !strings.Contains(page, want) {
		t.Errorf("the portal does not say %q:\n%s", want, page)
	}
}

// portal loads a page as a user who has logged in.
func (s *scene) portal(t *testing.T, path string) string {
	t.Helper()
	const password = "correct horse battery"
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://mfpgate/api/v1/users/mori", strings.NewReader(`{"password": "`+password+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	socket := control.Client(s.gateway.Socket)
	defer socket.CloseIdleConnections()
	added, err := socket.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = added.Body.Close()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Jar: jar, Timeout: rig.Deadline}
	login, err := client.PostForm("https://"+s.gateway.Portal+"/login", url.Values{"name": {"mori"}, "password": {password}})
	if err != nil {
		t.Fatal(err)
	}
	_ = login.Body.Close()
	resp, err := client.Get("https://" + s.gateway.Portal + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", path, resp.Status, err)
	}
	return string(text)
}
