package exchange_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/print/exchange"
)

func TestSecure(t *testing.T) {
	for _, tt := range []struct {
		rule, url string
		ok        bool
	}{
		{"https", "https://a.example/x?y=1", true},
		{"https to a port", "https://a.example:8443", true},
		{"http to a loopback address", "http://127.0.0.1:80/", true},
		{"http to a loopback address of IPv6", "http://[::1]:80/", true},
		{"http to a loopback name", "http://localhost/", true},
		{"http", "http://a.example/", false},
		{"http to a name that looks like loopback", "http://127.0.0.1.example/", false},
		{"http to a name under localhost", "http://localhost.a.example/", false},
		{"http to a network address", "http://10.0.0.1/", false},
		{"a user", "https://u@a.example/", false},
		{"a fragment", "https://a.example/#x", false},
		{"an empty fragment", "https://a.example/#", false},
		{"no host", "https:///x", false},
		{"a port alone", "https://:443/", false},
		{"no scheme", "//a.example/", false},
		{"opaque", "https:a.example", false},
		{"another scheme", "file:///etc/passwd", false},
		{"a control character", "https://a.example/\n", false},
		{"too long", "https://a.example/" + strings.Repeat("x", 2048), false},
	} {
		if _, err := exchange.Secure(tt.url); (err == nil) != tt.ok {
			t.Errorf("%s: %q: got %v, want good: %v", tt.rule, tt.url, err, tt.ok)
		}
	}
	if _, err := exchange.Secure("http://user:p4ss@a.example/"); err == nil || strings.Contains(err.Error(), "p4ss") {
		t.Errorf("got %v, want an error without the password", err)
	}
}

func TestProblem(t *testing.T) {
	for _, tt := range []struct {
		rule, body string
		status     int
		refused    bool
		says       string
	}{
		{"RFC 9457", `{"title":"Forbidden","detail":"not yours"}`, 403, true, `"Forbidden": "not yours"`},
		{"OData", `{"error":{"code":"BadRequest","message":"no name"}}`, 400, true, `"BadRequest": "no name"`},
		{"words of nobody", `{"x":1}`, 400, true, "400"},
		{"a text for an error", `{"error":"x","title":"T"}`, 400, true, `"T"`},
		{"a token that may be renewed", `{"title":"Unauthorized"}`, 401, false, `401 "Unauthorized"`},
		{"another time", `{"title":"Too many"}`, 429, false, `429 "Too many"`},
		{"a broken service", `{"title":"Internal"}`, 500, false, `500 "Internal"`},
		{"the first line alone", `{"title":"T","detail":"one\ntwo"}`, 400, true, `: "one"`},
		{"a secret that comes back", `{"title":"T","detail":"the token s3cr3t is over"}`, 400, true, `: "the token redacted is over"`},
	} {
		body, err := exchange.ParseObject([]byte(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		err = exchange.Answer{Status: tt.status, Body: body}.Problem("s3cr3t")
		if errors.Is(err, mfpgate.ErrRefused) != tt.refused || !strings.HasSuffix(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want %s, refused: %v", tt.rule, err, tt.says, tt.refused)
		}
	}
	if err := (exchange.Answer{Status: 403}).Problem(); errors.Is(err, mfpgate.ErrRefused) {
		t.Errorf("a page: got %v, want an error that is not final", err)
	}
}

func TestANewClientIsBounded(t *testing.T) {
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer slow.Close()
	h := exchange.NewHTTP(exchange.Options{Timeout: 50 * time.Millisecond})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, slow.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exchange.Do(h, mfpgate.SystemClock{}, req); err == nil {
		t.Error("want an end")
	}
}

// FuzzParseObject has encoding/json read the same.
func FuzzParseObject(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"b":[{"c":null}]}`, `{"a":1,"a":2}`, `{"a":{"b":1,"b":2}}`, `{"a":1}{`, `[]`, `null`, `{"a":1e999}`, "{\"\u00e9\":1,\"\\u00e9\":2}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := exchange.ParseObject(data)
		if err != nil {
			if !errors.Is(err, exchange.ErrAnswer) {
				t.Errorf("got %v, want ErrAnswer", err)
			}
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatalf("%q is no JSON: %v", data, err)
		}
		if diff := cmp.Diff(want, map[string]json.RawMessage(got)); diff != "" {
			t.Error(diff)
		}
	})
}

func FuzzFields(f *testing.F) {
	for _, seed := range []string{`1`, `"5"`, `-1`, `1e400`, `"0x10"`, `"NaN"`, `"1_0"`, `null`, `{}`, `"a b"`, `"AQID"`, `["x"]`, `""`, `"\"5\""`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		o, err := exchange.ParseObject([]byte(`{"v":` + value + `}`))
		if err != nil {
			return
		}
		if d, err := o.Seconds("v", time.Hour); err == nil && (d < 0 || d > time.Hour || d%time.Second != 0) {
			t.Errorf("%v of %s", d, value)
		}
		if s, err := o.Text("v", 8); err == nil && len(s) > 8 {
			t.Errorf("%q of %s", s, value)
		}
		if s, err := o.Visible("v", 8); err == nil && strings.ContainsAny(s, " \r\n\x00\x7f") {
			t.Errorf("%q of %s", s, value)
		}
		_, _ = o.Base64("v")
		_, _ = o.Texts("v")
	})
}

func TestSeconds(t *testing.T) {
	for _, tt := range []struct {
		rule, value string
		want        time.Duration
		ok          bool
	}{
		{"a number", `5`, 5 * time.Second, true},
		{"a text", `"5"`, 5 * time.Second, true},
		{"rounded up", `0.1`, time.Second, true},
		{"below zero", `-5`, 0, true},
		{"below any float", `-1e999`, 0, true},
		{"beyond", `1e999`, time.Hour, true},
		{"null", `null`, 0, true},
		{"words", `"soon"`, 0, false},
		{"hexadecimal", `"0x10"`, 0, false},
		{"infinite", `"inf"`, 0, false},
		{"not a number", `"nan"`, 0, false},
		{"with underscores", `"1_0"`, 0, false},
		{"empty", `""`, 0, false},
		{"a list", `[5]`, 0, false},
		{"true", `true`, 0, false},
	} {
		o, err := exchange.ParseObject([]byte(`{"v":` + tt.value + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := o.Seconds("v", time.Hour); got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%s: got %v, %v, want %v", tt.rule, got, err, tt.want)
		}
	}
}
