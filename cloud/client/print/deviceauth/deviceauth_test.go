package deviceauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/print/deviceauth"
	"github.com/mfpgate/mfpgate/cloud/client/print/exchange"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

const verifier = mfpgate.Secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// server answers as a test says.
func server(t *testing.T, h http.HandlerFunc) (deviceauth.Client, deviceauth.Metadata, string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c := deviceauth.Client{HTTP: exchange.NewHTTP(exchange.Options{}), ClientID: "mfpgate", Clock: fakeclock.New(noon)}
	t.Cleanup(c.HTTP.CloseIdleConnections)
	return c, deviceauth.Metadata{Issuer: s.URL, DeviceAuthorization: s.URL + "/device", Token: s.URL + "/token"}, s.URL
}

// answer is one of JSON.
func answer(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func TestRequestCode(t *testing.T) {
	var form url.Values
	c, m, base := server(t, func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		form = r.PostForm
		if r.URL.RawQuery != "" {
			t.Errorf("query %q: a secret must not stand in a url", r.URL.RawQuery)
		}
		answer(200, `{"device_code":"d-1","user_code":"BCDF-GHJK","verification_uri":"https://print.example/device","verification_uri_complete":"https://print.example/device?c=1",
			"expires_in":900,"interval":7,"events_uri":"http://`+r.Host+`/events/1"}`)(w, r)
	})
	got, err := c.RequestCode(t.Context(), m, "print.register", url.Values{"device_name": {"2F copier"}}, verifier)
	if err != nil {
		t.Fatal(err)
	}
	want := mfpgate.Code{DeviceCode: "d-1", UserCode: "BCDF-GHJK", VerificationURI: "https://print.example/device", Lifetime: 15 * time.Minute,
		Interval: 7 * time.Second, Events: base + "/events/1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	wantForm := url.Values{"client_id": {"mfpgate"}, "scope": {"print.register"}, "device_name": {"2F copier"}, "code_challenge_method": {"S256"},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier.Reveal())}}
	if diff := cmp.Diff(wantForm, form); diff != "" {
		t.Error(diff)
	}
}

const whole = `"device_code":"d","user_code":"U","verification_uri":"https://a.example/d","expires_in":600`

func TestCodesOfTheField(t *testing.T) {
	for _, tt := range []struct {
		rule, body string
		want       mfpgate.Code
	}{
		{"an interval that is not there is none", `{` + whole + `}`, mfpgate.Code{}},
		{"an interval of null is none", `{` + whole + `,"interval":null}`, mfpgate.Code{}},
		{"an interval below zero is none", `{` + whole + `,"interval":-3}`, mfpgate.Code{}},
		{"an interval of words is none", `{` + whole + `,"interval":"soon"}`, mfpgate.Code{}},
		{"an interval of another kind is none", `{` + whole + `,"interval":{"a":1}}`, mfpgate.Code{}},
		{"an interval as text is read", `{` + whole + `,"interval":"5"}`, mfpgate.Code{Interval: 5 * time.Second}},
		{"a broken interval is rounded up", `{` + whole + `,"interval":0.2}`, mfpgate.Code{Interval: time.Second}},
		{"a huge interval is cut", `{` + whole + `,"interval":1e300}`, mfpgate.Code{Interval: 10 * time.Minute}},
		{"an interval beyond any float is cut", `{` + whole + `,"interval":1e999}`, mfpgate.Code{Interval: 10 * time.Minute}},
		{"a huge lifetime is cut", `{"device_code":"d","user_code":"U","verification_uri":"https://a.example/d","expires_in":99999999999999999999}`,
			mfpgate.Code{Lifetime: 24 * time.Hour}},
		{"a lifetime as text is read", `{"device_code":"d","user_code":"U","verification_uri":"https://a.example/d","expires_in":"600"}`, mfpgate.Code{}},
		{"the drafts' verification_url is read", `{"device_code":"d","user_code":"U","verification_url":"https://a.example/d","expires_in":600}`, mfpgate.Code{}},
		{"names are matched exactly", `{` + whole + `,"INTERVAL":9,"Device_Code":"x"}`, mfpgate.Code{}},
		{"an events_uri in clear is none", `{` + whole + `,"events_uri":"http://a.example/e"}`, mfpgate.Code{}},
		{"an events_uri of another kind is none", `{` + whole + `,"events_uri":7}`, mfpgate.Code{}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			c, m, _ := server(t, answer(200, tt.body))
			got, err := c.RequestCode(t.Context(), m, "", nil, "")
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want
			want.DeviceCode, want.UserCode, want.VerificationURI = "d", "U", "https://a.example/d"
			want.Lifetime = max(want.Lifetime, 10*time.Minute)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	long := strings.Repeat("x", exchange.MaxAnswer)
	for _, tt := range []struct {
		rule   string
		answer http.HandlerFunc
	}{
		{"a page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>{}</html>") }},
		{"JSON that says it is a page", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, `{`+whole+`}`)
		}},
		{"a name given twice", answer(200, `{`+whole+`,"device_code":"e"}`)},
		{"a name given twice within", answer(200, `{`+whole+`,"x":[{"a":1,"a":2}]}`)},
		{"a name given twice by an escape", answer(200, `{`+whole+`,"device\u005fcode":"e"}`)},
		{"too long", answer(200, `{`+whole+`,"x":"`+long+`"}`)},
		{"two documents", answer(200, `{`+whole+`}{`+whole+`}`)},
		{"cut off", answer(200, `{`+whole)},
		{"a list", answer(200, `[{`+whole+`}]`)},
		{"null", answer(200, `null`)},
		{"empty", answer(200, ``)},
		{"too deep", answer(200, `{`+whole+`,"x":`+strings.Repeat("[", 99)+strings.Repeat("]", 99)+`}`)},
		{"no device code", answer(200, `{"user_code":"U","verification_uri":"https://a.example/d","expires_in":600}`)},
		{"a device code that is no text", answer(200, strings.Replace(`{`+whole+`}`, `"d"`, `{"a":1}`, 1))},
		{"a device code with a line break", answer(200, strings.Replace(`{`+whole+`}`, `"d"`, `"d\r\nX: y"`, 1))},
		{"a user code with a line break", answer(200, strings.Replace(`{`+whole+`}`, `"U"`, `"U\nBcc: x"`, 1))},
		{"a user code that nobody types", answer(200, strings.Replace(`{`+whole+`}`, `"U"`, `"`+strings.Repeat("U", 65)+`"`, 1))},
		{"no verification uri", answer(200, strings.Replace(`{`+whole+`}`, `verification_uri`, `x`, 1))},
		{"a verification uri that is no text", answer(200, strings.Replace(`{`+whole+`}`, `"https://a.example/d"`, `["https://a.example/d"]`, 1))},
		{"no lifetime", answer(200, `{"device_code":"d","user_code":"U","verification_uri":"https://a.example/d"}`)},
		{"a lifetime of nothing", answer(200, strings.Replace(`{`+whole+`}`, `600`, `0`, 1))},
		{"a lifetime below zero", answer(200, strings.Replace(`{`+whole+`}`, `600`, `-1e999`, 1))},
		{"a lifetime of words", answer(200, strings.Replace(`{`+whole+`}`, `600`, `"Infinity"`, 1))},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			c, m, _ := server(t, tt.answer)
			got, err := c.RequestCode(t.Context(), m, "", nil, "")
			if !errors.Is(err, exchange.ErrAnswer) || errors.Is(err, mfpgate.ErrRefused) {
				t.Errorf("got %v, %v, want ErrAnswer alone", got, err)
			}
		})
	}
}

func TestAnEndlessAnswerEnds(t *testing.T) {
	c, m, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"x":"`)
		for r.Context().Err() == nil {
			if _, err := w.Write([]byte(strings.Repeat("x", 4096))); err != nil {
				return
			}
		}
	})
	if _, err := c.Redeem(t.Context(), m, mfpgate.Code{DeviceCode: "d"}, ""); !errors.Is(err, exchange.ErrAnswer) {
		t.Errorf("got %v, want ErrAnswer", err)
	}
	c, m, _ = server(t, func(w http.ResponseWriter, r *http.Request) { // says nothing more
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Redeem(ctx, m, mfpgate.Code{DeviceCode: "d"}, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's end", err)
	}
}

func TestNoRedirectIsFollowed(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s came after a redirect", r.Method, r.URL.Path)
	}))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		c, m, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/there?device_code=s3cr3t", status)
		})
		_, err := c.Redeem(t.Context(), m, mfpgate.Code{DeviceCode: "s3cr3t"}, "")
		if !errors.Is(err, exchange.ErrAnswer) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%d: got %v, want ErrAnswer without the secret", status, err)
		}
	}
}

func TestClearTextIsForLoopbackOnly(t *testing.T) {
	c := deviceauth.Client{HTTP: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		t.Error("a secret went out")
		return nil, errors.New("no")
	})}}
	for _, at := range []string{"http://print.example/token", "ftp://print.example/", "https://user@print.example/token", "/token", "http://127.0.0.1.example/", ""} {
		if _, err := c.Redeem(t.Context(), deviceauth.Metadata{Token: at}, mfpgate.Code{DeviceCode: "d"}, ""); err == nil {
			t.Errorf("%q: want an error", at)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
