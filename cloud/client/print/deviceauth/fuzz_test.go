package deviceauth_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/print/deviceauth"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

func reply(status int, kind, body string) *http.Response {
	return &http.Response{StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {kind}, "Retry-After": {"3"}},
		Body: io.NopCloser(strings.NewReader(body))}
}

// fixed is a client that always gets the same answer.
func fixed(status int, kind, body string) deviceauth.Client {
	return deviceauth.Client{ClientID: "mfpgate", Clock: fakeclock.New(noon), HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		res := reply(status, kind, body)
		res.Request = r
		return res, nil
	})}}
}

func FuzzRequestCode(f *testing.F) {
	f.Add(200, `{`+whole+`,"interval":5,"events_uri":"https://a.example/e"}`)
	f.Add(200, `{`+whole+`,"interval":"1e9"}`)
	f.Add(400, `{"error":"slow_down","error_description":"x"}`)
	f.Add(200, `{"device_code":"d","device_code":"e"}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			return
		}
		c := fixed(status, "application/json", body)
		got, err := c.RequestCode(t.Context(), deviceauth.Metadata{DeviceAuthorization: "https://a.example/d"}, "s", nil, verifier)
		if err != nil {
			return
		}
		if got.DeviceCode == "" || got.UserCode == "" || len(got.UserCode) > 64 || strings.ContainsFunc(got.UserCode.Reveal(), unicode.IsControl) ||
			got.Lifetime < time.Second || got.Lifetime > 24*time.Hour || got.Interval < 0 || got.Interval > 10*time.Minute ||
			!strings.HasPrefix(strings.ToLower(got.VerificationURI), "http") || strings.ContainsAny(got.VerificationURI+got.Events, " \r\n") {
			t.Errorf("%+v of %q", got, body)
		}
	})
}

func FuzzRedeem(f *testing.F) {
	f.Add(200, `{"access_token":"t","token_type":"Bearer","expires_in":3600}`)
	f.Add(400, `{"error":"authorization_pending"}`)
	f.Add(400, `{"error":"invalid_grant","error_description":"device-c0de"}`)
	f.Add(200, `{"error":null,"access_token":"t"}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			return
		}
		const secret = "device-c0de"
		c := fixed(status, "application/json", body)
		got, err := c.Redeem(t.Context(), deviceauth.Metadata{Token: "https://a.example/t"}, mfpgate.Code{DeviceCode: secret}, verifier)
		switch {
		case err == nil && (got.Token == "" || strings.ContainsFunc(got.Token.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) || got.Expires.After(noon.Add(24*time.Hour))):
			t.Errorf("%+v of %q", got, body)
		case err == nil:
		case strings.Contains(err.Error(), secret):
			t.Errorf("%v holds the code", err)
		case status >= 500:
			for _, meaning := range meanings {
				if errors.Is(err, meaning) {
					t.Errorf("%d says %v", status, err)
				}
			}
		}
	})
}

func FuzzDiscover(f *testing.F) {
	f.Add(200, document("https://a.example"))
	f.Add(200, document("https://b.example"))
	f.Add(404, `{}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			return
		}
		c := fixed(status, "application/json", body)
		got, err := c.Discover(t.Context(), "https://a.example")
		if err == nil && (got.Issuer != "https://a.example" || !strings.HasPrefix(strings.ToLower(got.Token), "https://") || !strings.HasPrefix(strings.ToLower(got.DeviceAuthorization), "https://")) {
			t.Errorf("%+v of %q", got, body)
		}
	})
}

func FuzzAwaitEvent(f *testing.F) {
	f.Add("event: changed\ndata: 1\n\n")
	f.Add(": x\n\nevent:changed\r\n\r\n")
	f.Add("event: changed\nevent: other\n\n")
	f.Fuzz(func(t *testing.T, body string) {
		c := fixed(200, "text/event-stream", body)
		err := c.AwaitEvent(t.Context(), mfpgate.Code{DeviceCode: "d", Events: "https://a.example/e"})
		if err == nil && !strings.Contains(body, "changed") {
			t.Errorf("an event of %q", body)
		}
	})
}
