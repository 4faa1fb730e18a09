package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// The registrations that wait for their administrators, and how often the print service wants to be asked.
const (
	openRegistrations  = 500
	registrationPoll   = 5 * time.Second
	registrationRounds = 3
	registrationSettle = 3 * registrationPoll // until each has been asked for at least once
	registrationWindow = 8 * registrationPoll
)

// registrations compares what open registrations cost the gateway, which keeps each on disk, with what they cost a program that
// holds them in memory with x/oauth2.
func registrations(ctx context.Context, b *bench) ([]*series, error) {
	if err := b.build(ctx, "tests/bench/relayhost", "tests/bench/oauthhost"); err != nil {
		return nil, err
	}
	mean := float64(openRegistrations) / registrationPoll.Seconds()
	open := &series{name: "registrations_open", unit: "1", targets: []target{{bound: openRegistrations, least: true}}}
	polls := &series{name: "registration_polls", unit: "1/s", targets: []target{{bound: 1.02 * mean}}}
	worst := &series{name: "registration_worst_second", unit: "x mean", targets: []target{{bound: 2}}}
	cpu := &series{name: "registration_cpu_per_poll", unit: "CPU us"}
	share := &series{name: "registration_cpu", unit: "CPU %"}
	rss := &series{name: "registration_memory", unit: "KiB each"}
	for round := range registrationRounds {
		b.progress(round, registrationRounds, "registrations")
		for _, who := range turns([]string{ours, "x/oauth2"}, round) {
			c, err := b.registrationCost(ctx, who)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", who, err)
			}
			open.put(round, who, float64(c.open))
			polls.put(round, who, c.perSecond)
			worst.put(round, who, c.worst)
			cpu.put(round, who, c.cpu.Seconds()/(c.perSecond*registrationWindow.Seconds())*1e6)
			share.put(round, who, c.cpu.Seconds()/registrationWindow.Seconds()*100)
			rss.put(round, who, c.rss/openRegistrations)
		}
	}
	b.notes = append(b.notes, fmt.Sprintf("note: %d registrations wait, each is asked for every %v; x/oauth2 holds them in memory, the gateway in its store; what a gateway without any costs is taken off",
		openRegistrations, registrationPoll))
	return []*series{open, polls, worst, cpu, share, rss}, nil
}

type registrationCost struct {
	open      int
	perSecond float64
	worst     float64 // second, over the mean
	cpu       time.Duration
	rss       float64 // KiB that they add
}

func (b *bench) registrationCost(ctx context.Context, who string) (c registrationCost, err error) {
	s, err := startUndecided(b.clock)
	if err != nil {
		return c, err
	}
	defer s.stop()
	var p *peer
	begin := func() error { return nil }
	if who == ours {
		portal, err := freeAddress() // where administrators would look: there is no mail
		if err != nil {
			return c, err
		}
		keys := fmt.Sprintf("portal: {listen: %q}\nprint_services: [{name: office, kind: reference, url: %q, completion: poll}]\nregistration: {admin: it@example.jp, admin_domains: [example.jp]}\ndevices:\n  static:\n", portal, s.url)
		for n := range openRegistrations {
			keys += fmt.Sprintf("    - {name: \"Copier %d\", address: 127.2.%d.%d}\n", n, n/250, n%250+1)
		}
		if p, err = b.gateway(ctx, "registration", keys); err != nil {
			return c, err
		}
		begin = func() error { return b.register(ctx, p) }
	} else {
		p = &peer{name: "oauthhost"}
		if p.address, err = freeAddress(); err != nil {
			return c, err
		}
		p.debug = p.address
		how := program{path: filepath.Join(b.dir, "oauthhost"), args: []string{"-issuer", s.url, "-debug", p.debug, "-count", fmt.Sprint(openRegistrations)}}
		if err := b.start(ctx, p, how); err != nil {
			return c, err
		}
	}
	defer p.stop()
	idle, err := b.idle(ctx, p, who)
	if err != nil {
		return c, err
	}
	if err := begin(); err != nil {
		return c, err
	}
	if err := mfpgate.Wait(ctx, b.clock, registrationSettle); err != nil {
		return c, err
	}
	s.forget()
	before, err := p.cpu()
	if err != nil {
		return c, err
	}
	if err := mfpgate.Wait(ctx, b.clock, registrationWindow); err != nil {
		return c, err
	}
	seconds, codes := s.seen()
	after, err := p.cpu()
	if err != nil {
		return c, err
	}
	if err := b.free(ctx, p); err != nil {
		return c, err
	}
	full, err := p.rss()
	if err != nil {
		return c, err
	}
	total := 0
	for _, n := range seconds {
		total += n
	}
	c.open, c.perSecond = codes, float64(total)/registrationWindow.Seconds()
	c.worst = float64(slices.Max(seconds)) / (float64(total) / float64(len(seconds)))
	c.cpu, c.rss = after-before-idle.cpu, full-idle.rss
	return c, nil
}

type idleCost struct {
	cpu time.Duration // in a window
	rss float64
}

// idle is what our gateway costs before it has a registration. The peer begins with them, and has no such state.
func (b *bench) idle(ctx context.Context, p *peer, who string) (c idleCost, err error) {
	if who != ours {
		return c, nil
	}
	if err := mfpgate.Wait(ctx, b.clock, registrationPoll); err != nil {
		return c, err
	}
	before, err := p.cpu()
	if err != nil {
		return c, err
	}
	if err := mfpgate.Wait(ctx, b.clock, registrationWindow/4); err != nil {
		return c, err
	}
	after, err := p.cpu()
	if err != nil {
		return c, err
	}
	c.cpu = (after - before) * 4
	if err := b.free(ctx, p); err != nil {
		return c, err
	}
	c.rss, err = p.rss()
	return c, err
}

// register asks for them at the gateway's door, one for each device.
func (b *bench) register(ctx context.Context, p *peer) error {
	client := control.Client(filepath.Join(p.state, "control.sock"))
	defer client.CloseIdleConnections()
	call := func(method, resource string, body, into any) error {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, method, "http://mfpgate/api/v1/"+resource, bytes.NewReader(text))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
		if err == nil && resp.StatusCode > 299 {
			err = fmt.Errorf("%s %s: %s: %s", method, resource, resp.Status, answer)
		}
		if err == nil {
			err = json.Unmarshal(answer, into)
		}
		return err
	}
	var devices struct{ Items []mfpgate.Device }
	if err := call(http.MethodGet, "devices", nil, &devices); err != nil {
		return err
	}
	for n, d := range devices.Items {
		ask := map[string]any{"deviceId": d.ID, "service": "office", "user": fmt.Sprintf("user%d@example.jp", n)}
		if err := call(http.MethodPost, "registrations", ask, &struct{}{}); err != nil {
			return err
		}
	}
	return nil
}

// undecided is a print service whose administrators never decide.
type undecided struct {
	url   string
	clock mfpgate.Clock
	stop  func()

	mu     sync.Mutex
	codes  int
	polls  []int // by second since forget
	began  time.Time
	polled map[string]bool
}

func startUndecided(clock mfpgate.Clock) (*undecided, error) {
	s := &undecided{clock: clock}
	s.forget()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.url = "http://" + listener.Addr().String()
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, status int, body any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body) // who has gone misses it
	}
	mux.HandleFunc("GET /.well-known/", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"issuer": s.url, "device_authorization_endpoint": s.url + "/oauth/device_authorization",
			"token_endpoint": s.url + "/oauth/token", "code_challenge_methods_supported": []string{"S256"}, "response_types_supported": []string{},
			"grant_types_supported": []string{"urn:ietf:params:oauth:grant-type:device_code"}})
	})
	mux.HandleFunc("POST /oauth/device_authorization", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		s.codes++
		code := fmt.Sprintf("code-%d", s.codes)
		s.mu.Unlock()
		answer(w, http.StatusOK, map[string]any{"device_code": code, "user_code": strings.ToUpper(code), "verification_uri": s.url + "/device",
			"expires_in": 3600, "interval": int(registrationPoll.Seconds())})
	})
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, r *http.Request) {
		s.poll(r.PostFormValue("device_code"))
		answer(w, http.StatusBadRequest, map[string]string{"error": "authorization_pending"})
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() { // stop waits
		defer close(done)
		_ = server.Serve(listener)
	}()
	s.stop = func() {
		_ = server.Close()
		<-done
	}
	return s, nil
}

func (s *undecided) poll(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	second := int(s.clock.Now().Sub(s.began) / time.Second)
	for len(s.polls) <= second {
		s.polls = append(s.polls, 0)
	}
	s.polls[second]++
	s.polled[code] = true
}

func (s *undecided) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.polls, s.began, s.polled = nil, s.clock.Now(), map[string]bool{}
}

// seen returns the polls of each whole second, and how many codes were asked for.
func (s *undecided) seen() (seconds []int, codes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	whole := int(s.clock.Now().Sub(s.began) / time.Second)
	seconds = slices.Clone(s.polls)
	for len(seconds) < whole {
		seconds = append(seconds, 0)
	}
	return seconds[:whole], len(s.polled)
}
