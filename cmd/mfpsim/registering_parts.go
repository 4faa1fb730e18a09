package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/cloud/client/print"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/internal/mfp"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/internal/registering"
)

// printService reads a value of --print-service: pairs, of which kind and url are needed.
func printService(text string, d mfp.Options) (s registering.Service, err error) {
	o := print.Options{ClientID: "mfpgate", Clock: d.Clock, Source: d.Bind}
	var name, ca string
	var hosts []string
	push := true
	for pair := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || value == "" {
			return s, fmt.Errorf("%q is no key=value", pair)
		}
		switch key {
		case "kind":
			o.Kind = value
		case "url":
			o.URL = value
		case "name":
			name = value
		case "ca":
			ca = value
		case "client-id":
			o.ClientID = value
		case "scope":
			o.Scope = value
		case "authority":
			o.Authority = value
		case "host":
			hosts = append(hosts, value)
		case "push":
			push = value != "false"
		default:
			return s, fmt.Errorf("%q is not known; use kind, url, name, ca, client-id, scope, authority, host or push", key)
		}
	}
	u, err := url.Parse(o.URL)
	switch {
	case o.Kind == "" || o.URL == "":
		return s, errors.New("needs kind= and url=")
	case err != nil || u.Hostname() == "":
		return s, errors.New("url must be a URL such as https://jp.cloud.example")
	}
	if name == "" {
		name = o.Kind
	}
	if len(hosts) == 0 {
		hosts = []string{strings.ToLower(u.Hostname())}
	}
	if o.RootCAs, err = trust(ca); err != nil {
		return s, err
	}
	if d.Proxy != nil {
		o.Proxy = http.ProxyURL(d.Proxy)
	}
	client, err := print.Open(o)
	if err != nil {
		return s, err
	}
	return registering.Service{Service: approval.Service{Name: name, Kind: o.Kind, Client: client, Hosts: hosts, Push: push}, URL: o.URL}, nil
}

// trust reads certificates; "" is the system's.
func trust(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca %s: no certificate in it", file)
	}
	return pool, nil
}

// account reads name:passwordfile; "" is none.
func account(text string) (name string, password mfpgate.Secret, err error) {
	if text == "" {
		return "", "", nil
	}
	name, file, ok := strings.Cut(text, ":")
	if !ok || name == "" || file == "" {
		return "", "", fmt.Errorf("account %q: must be name:passwordfile", text)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", "", fmt.Errorf("password: %w", err)
	}
	return name, mfpgate.Secret(strings.TrimRight(string(data), "\r\n")), nil
}
