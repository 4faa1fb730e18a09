package mfp

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/client"
)

const (
	callTimeout = 90 * time.Second // longer than a relay lets a device wait in its queue
	maxAnswer   = 64 << 10         // bytes
)

// Refusal is an answer other than the one asked for, by the relay or by the cloud.
type Refusal struct {
	Relay      bool
	Status     int
	RetryAfter time.Duration
	Detail     string // the relay's Proxy-Status or the cloud's problem
	Reason     string // of the cloud's problem
}

func (r *Refusal) Error() string {
	who := "the cloud"
	if r.Relay {
		who = "the relay"
	}
	if r.Detail == "" {
		return fmt.Sprintf("%s answered %d %s", who, r.Status, http.StatusText(r.Status))
	}
	return fmt.Sprintf("%s answered %d (%s)", who, r.Status, r.Detail)
}

// passing says that the same request may be accepted later.
func (r *Refusal) passing() bool {
	return r.Status >= 500 || r.Status == http.StatusTooManyRequests || r.Status == http.StatusRequestTimeout
}

func (d *Device) transport() *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	if d.o.Bind.IsValid() {
		dialer.LocalAddr = &net.TCPAddr{IP: d.o.Bind.AsSlice()}
	}
	t := &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: 20 * time.Second, IdleConnTimeout: 30 * time.Second, MaxIdleConns: 2,
		TLSClientConfig:        &tls.Config{RootCAs: d.o.RootCAs, MinVersion: tls.VersionTLS12},
		DisableCompression:     true,
		MaxResponseHeaderBytes: 32 << 10,
	}
	if d.o.Proxy != nil {
		t.Proxy = http.ProxyURL(d.o.Proxy)
		t.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
			if res.StatusCode == http.StatusOK {
				return nil
			}
			return &Refusal{
				Relay: true, Status: res.StatusCode, RetryAfter: client.RetryAfter(res.Header, d.o.Clock.Now()),
				Detail: clip(res.Header.Get("Proxy-Status")),
			}
		}
	}
	return t
}

// request makes a request to the management server as this device.
func (d *Device) request(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	return d.requestTo(ctx, method, d.home.Load().management.JoinPath(path), body)
}

// requestTo is request to any server.
func (d *Device) requestTo(ctx context.Context, method string, u *url.URL, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+d.o.Token.Reveal())
	req.Header.Set("User-Agent", "mfpsim/1 ("+d.o.Model+")")
	return req, nil
}

// do returns an answer of status 2xx, or a *Refusal.
func (d *Device) do(req *http.Request) (*http.Response, error) {
	res, err := d.home.Load().http.Do(req)
	if err != nil {
		if cause := context.Cause(req.Context()); cause != nil && !errors.Is(err, cause) {
			return nil, fmt.Errorf("%w: %v", cause, err)
		}
		return nil, err
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	r := &Refusal{
		Status: res.StatusCode, RetryAfter: client.RetryAfter(res.Header, d.o.Clock.Now()), Detail: clip(res.Header.Get("Proxy-Status")),
	}
	r.Relay = r.Detail != "" // plain HTTP: the relay answers in the cloud's place
	var p api.Problem
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&p); err == nil && !r.Relay {
		r.Detail, r.Reason = p.Reason(), p.Reason()
	}
	return nil, r
}

// post sends a document to the management server under an idempotency key and reads the answer.
func (d *Device) post(ctx context.Context, path, key string, in, out any) error {
	return d.exchange(ctx, http.MethodPost, d.home.Load().management.JoinPath(path), key, in, out)
}

// exchange sends a document, bytes or nothing, and reads the answer into out, if there is one.
func (d *Device) exchange(ctx context.Context, method string, u *url.URL, key string, in, out any) error {
	err := d.once(ctx, method, u, key, in, out)
	if d.o.Tally && ctx.Err() == nil { // else it is switched off
		d.tally.note(method, u.Path, err)
	}
	return err
}

func (d *Device) once(ctx context.Context, method string, u *url.URL, key string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	data, kind, err := encode(in)
	if err != nil {
		return err
	}
	req, err := d.requestTo(ctx, method, u, data)
	if err != nil {
		return err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", `"`+key+`"`)
	}
	res, err := d.do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer)) // so that the connection serves again
		return err
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("read the cloud's answer: %w", err)
	}
	return nil
}

func encode(in any) (data []byte, kind string, err error) {
	switch in := in.(type) {
	case nil:
		return nil, "", nil
	case []byte:
		return in, "application/octet-stream", nil
	}
	data, err = json.Marshal(in)
	return data, "application/json", err
}

func clip(s string) string {
	s = strings.ToValidUTF8(s, "?")
	return s[:min(len(s), 200)]
}
