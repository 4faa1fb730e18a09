package registering

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/client"
)

const (
	pollWait  = 30 * time.Second
	callTime  = 30 * time.Second // of an exchange that is not held back
	silence   = 60 * time.Second // on a stream: four of the gateway's beats
	maxAnswer = 4 << 20          // bytes: some thousand requests
	maxLine   = 64 << 10         // of a stream
)

// GatewayOptions are where a device asks for requests. URL and Clock are required.
type GatewayOptions struct {
	URL      *url.URL // of the portal
	RootCAs  *x509.CertPool
	Account  string // of relay.accounts; "": known by its address
	Password mfpgate.Secret
	Bind     netip.Addr // source address; the zero value: the kernel's choice
	Agent    string     // User-Agent
	Clock    mfpgate.Clock
}

// Gateway is the management server that hands out requests.
type Gateway struct {
	GatewayOptions
	http *http.Client
}

// OpenGateway makes no connection.
func OpenGateway(o GatewayOptions) (*Gateway, error) {
	if o.URL == nil || o.URL.Scheme != "https" || o.URL.Host == "" {
		return nil, errors.New("must be a URL such as https://gateway:8443")
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	if o.Bind.IsValid() {
		dialer.LocalAddr = &net.TCPAddr{IP: o.Bind.AsSlice()}
	}
	return &Gateway{o, &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: 20 * time.Second, IdleConnTimeout: 30 * time.Second,
			TLSClientConfig: &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12}, MaxResponseHeaderBytes: 32 << 10},
	}}, nil
}

// refusal is an answer of the gateway other than the one asked for.
type refusal struct {
	api.Problem
	after time.Duration
}

func (r *refusal) Error() string { return "the gateway answered " + r.Problem.Error() }

// never reports whether the same document will be refused again.
func (r *refusal) never() bool {
	return r.Status == http.StatusBadRequest || r.Status == http.StatusUnprocessableEntity || r.Status == http.StatusRequestEntityTooLarge
}

// polled is an answer to a poll.
type polled struct {
	list  api.RegistrationRequests
	etag  string
	same  bool          // nothing has changed since the tag that was sent
	after time.Duration // not before
}

// poll asks once. The gateway holds the answer back for up to wait while it is the one of etag.
func (g *Gateway) poll(ctx context.Context, etag string, wait time.Duration) (p polled, err error) {
	ctx, cancel := context.WithTimeout(ctx, wait+callTime)
	defer cancel()
	req, err := g.request(ctx, http.MethodGet, api.RequestsPath, nil)
	if err != nil {
		return p, err
	}
	req.URL.RawQuery = "wait=" + strconv.Itoa(int(wait/time.Second))
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	res, err := g.do(req)
	if err != nil {
		return p, err
	}
	defer res.Body.Close()
	p.etag, p.after = res.Header.Get("ETag"), client.RetryAfter(res.Header, g.Clock.Now())
	if res.StatusCode == http.StatusNotModified {
		p.same = true
		return p, nil
	}
	return p, read(res.Body, &p.list)
}

func read(body io.Reader, list *api.RegistrationRequests) error {
	data, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("read the gateway's answer: %w", err)
	}
	if len(data) > maxAnswer {
		return fmt.Errorf("the gateway's answer has more than %d bytes", maxAnswer)
	}
	if err := json.Unmarshal(data, list); err != nil {
		return fmt.Errorf("read the gateway's answer: %w", err)
	}
	return checked(list.Check())
}

func checked(err error) error {
	if err != nil {
		return fmt.Errorf("the gateway's answer: %w", err)
	}
	return nil
}

// session keeps a stream open and hands over what is open each time that this changes. It returns why it ended; io.EOF is its usual end.
func (g *Gateway) session(ctx context.Context, take func(api.RegistrationRequests)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := func() { cancel(errors.New("the stream has been silent for too long")) }
	stop := g.Clock.AfterFunc(silence, quiet)
	defer func() { stop() }()
	req, err := g.request(ctx, http.MethodGet, api.RequestsPath, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := g.do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	told := map[string]api.RegistrationRequest{}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxLine)
	for name := ""; lines.Scan(); {
		stop()
		stop = g.Clock.AfterFunc(silence, quiet)
		if text, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			name = text
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if err := g.event(name, data, told, take); err != nil {
			return err
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the gateway's stream: %w", err)
	}
	return io.EOF
}

// event takes one event in. What has another name is of a later version.
func (g *Gateway) event(name, data string, told map[string]api.RegistrationRequest, take func(api.RegistrationRequests)) error {
	switch name {
	case api.EventRequest:
		var item api.RegistrationRequest
		if err := json.Unmarshal([]byte(data), &item); err != nil {
			return fmt.Errorf("read the gateway's stream: %w", err)
		}
		if err := checked(item.Check()); err != nil {
			return err
		}
		told[item.RegistrationID] = item
	case api.EventOpen:
		var open api.OpenRequests
		if err := json.Unmarshal([]byte(data), &open); err != nil {
			return fmt.Errorf("read the gateway's stream: %w", err)
		}
		list := api.RegistrationRequests{DeviceID: open.DeviceID}
		for _, id := range open.RegistrationIDs {
			item, ok := told[id]
			if !ok {
				return fmt.Errorf("the gateway's stream names a request that it has not told: %.64q", id)
			}
			list.Items = append(list.Items, item)
		}
		clear(told)
		for _, item := range list.Items {
			told[item.RegistrationID] = item
		}
		take(list)
	}
	return nil
}

// report sends how far a request is. It returns a *refusal for what the gateway does not take.
func (g *Gateway) report(ctx context.Context, id string, r api.RegistrationResult) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	req, err := g.request(ctx, http.MethodPost, api.ResultPath(url.PathEscape(id)), data)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", `"`+id+"-"+string(r.State)+`"`)
	res, err := g.do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

func (g *Gateway) request(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(g.URL.String(), "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if g.Account != "" {
		req.SetBasicAuth(g.Account, g.Password.Reveal())
	}
	req.Header.Set("User-Agent", g.Agent)
	return req, nil
}

// do returns an answer of 2xx or 304, or a *refusal.
func (g *Gateway) do(req *http.Request) (*http.Response, error) {
	res, err := g.http.Do(req)
	if err != nil {
		if cause := context.Cause(req.Context()); cause != nil && !errors.Is(err, cause) {
			return nil, fmt.Errorf("%w: %w", cause, err)
		}
		return nil, err
	}
	if res.StatusCode < 300 || res.StatusCode == http.StatusNotModified {
		return res, nil
	}
	defer res.Body.Close()
	no := &refusal{after: client.RetryAfter(res.Header, g.Clock.Now())}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxLine)).Decode(&no.Problem); err != nil {
		no.Problem = api.Problem{}
	}
	no.Status, no.Title = res.StatusCode, http.StatusText(res.StatusCode) // whatever the document says
	no.Detail = clip(no.Detail, 300)
	return nil, no
}

// clip shortens a text of the other side to one line of so many bytes at most.
func clip(s string, most int) string {
	s = strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s), "?")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}
