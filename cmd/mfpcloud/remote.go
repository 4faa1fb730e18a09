package main

import (
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
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
)

const (
	remoteTimeout = 30 * time.Second
	maxAnswer     = 16 << 20 // bytes; a full page of devices stays below
)

// remote speaks to a running region as an operator: its store is the server's alone.
type remote struct {
	base     *url.URL
	name     string
	password mfpgate.Secret
	http     *http.Client
}

// onRegion adds the flags that name a running region and an operator, and opens the connection for work.
func onRegion(c *cobra.Command, work func(*cobra.Command, *remote, []string) error) *cobra.Command {
	flags := c.Flags()
	address := flags.String("url", "", "the region's base URL, such as https://127.0.0.1:8441")
	name := flags.String("operator", "", "the operator's name")
	file := flags.String("password-file", "", "file with the operator's password; - reads it from standard input")
	ca := flags.String("ca", "", "the region's cert.pem; without it the system's authorities are trusted")
	for _, required := range []string{"url", "operator", "password-file"} {
		must(c.MarkFlagRequired(required))
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		r, err := dial(c.InOrStdin(), *address, *name, *file, *ca)
		if err != nil {
			return err
		}
		defer r.http.CloseIdleConnections()
		return work(c, r, args)
	}
	return c
}

func dial(stdin io.Reader, address, name, file, ca string) (*remote, error) {
	base, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	if base.Host == "" || base.Scheme != "https" && !(base.Scheme == "http" && mfpgate.Loopback(base.Hostname())) {
		return nil, fmt.Errorf("url %q: must be https://host[:port]; plain http is for loopback addresses only", base.Redacted())
	}
	var password []byte
	if file == "-" {
		password, err = io.ReadAll(io.LimitReader(stdin, 4096))
	} else {
		password, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: %s holds no certificate", ca)
		}
	}
	return &remote{base, name, mfpgate.Secret(strings.TrimSpace(string(password))), &http.Client{
		Timeout:       remoteTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a password belongs to one host
		Transport:     &http.Transport{TLSClientConfig: config, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext},
	}}, nil
}

// call sends one request and reads its answer into out, unless that is nil. It returns the entity tag. A refusal is the region's *api.Problem.
func (r *remote) call(ctx context.Context, method, etag string, out any, query url.Values, path ...string) (string, error) {
	headers := map[string]string{}
	if etag != "" {
		headers["If-Match"] = etag
	}
	return r.send(ctx, method, headers, nil, out, query, path...)
}

// send is call with a body, unless that is nil, and headers of the caller's own.
func (r *remote) send(ctx context.Context, method string, headers map[string]string, body, out any, query url.Values, path ...string) (string, error) {
	return r.ask(ctx, method, headers, body, out, query, append([]string{"v1", "gateways"}, path...)...)
}

// exchange is send for a resource of any path, whose entity tag does not matter.
func (r *remote) exchange(ctx context.Context, method string, headers map[string]string, body, out any, query url.Values, path ...string) error {
	_, err := r.ask(ctx, method, headers, body, out, query, path...)
	return err
}

func (r *remote) ask(ctx context.Context, method string, headers map[string]string, body, out any, query url.Values, path ...string) (string, error) {
	escaped := make([]string, len(path))
	for i, p := range path {
		escaped[i] = url.PathEscape(p)
	}
	var in io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return "", err
		}
		in = bytes.NewReader(data)
	}
	u := r.base.JoinPath(escaped...)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), in)
	if err != nil {
		return "", err
	}
	req.SetBasicAuth(r.name, r.password.Reveal())
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	res, err := r.http.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return "", err
	}
	if res.StatusCode >= 300 {
		var p api.Problem
		if json.Unmarshal(data, &p) != nil || p.Title == "" {
			return "", errors.New(res.Status)
		}
		return "", &p
	}
	if out != nil {
		if err := json.Unmarshal(data, out); err != nil {
			return "", fmt.Errorf("not an answer of a region: %w", err)
		}
	}
	return res.Header.Get("ETag"), nil
}
