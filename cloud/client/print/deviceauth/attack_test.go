package deviceauth_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/print/deviceauth"
)

// TestADeviceCodeStaysWithItsServer has a server name events elsewhere: the question for them carries the device code.
func TestADeviceCodeStaysWithItsServer(t *testing.T) {
	var base string
	for _, c := range []struct {
		events func() string
		kept   bool
	}{
		{func() string { return base + "/events" }, true},
		{func() string { return "https://evil.example/events" }, false},
		{func() string { return "http://localhost:9090/events" }, false},
		{func() string { return "https://" + strings.TrimPrefix(base, "http://") + "/events" }, false},
		{func() string { return base + ".evil.example/events" }, false},
		{func() string { return base + "@evil.example/events" }, false},
		{func() string { return strings.Replace(base, "127.0.0.1", "127.0.0.2", 1) + "/events" }, false},
	} {
		client, m, at := server(t, func(w http.ResponseWriter, r *http.Request) {
			base = "http://" + r.Host
			answer(200, fmt.Sprintf(`{"device_code":"d","user_code":"U","verification_uri":"https://a.example/d","expires_in":600,"events_uri":%q}`, c.events()))(w, r)
		})
		code, err := client.RequestCode(t.Context(), m, "", nil, "")
		if err != nil {
			t.Fatal(err)
		}
		if (code.Events != "") != c.kept {
			t.Errorf("%s at %s: kept %v, want %v", c.events(), at, code.Events, c.kept)
		}
	}
}

// TestAPageIsLeftToWhoSendsPeopleThere hands on what a server says of its page, for a page of which nothing is known would be asked
// about again and again.
func TestAPageIsLeftToWhoSendsPeopleThere(t *testing.T) {
	for _, page := range []string{"http://a.example/d", "javascript:alert(1)", "https://login.example@a.example/d", "https://a.example/\r\nBcc: x@evil.example", "\u202e"} {
		client, m, _ := server(t, answer(200, fmt.Sprintf(`{"device_code":"d","user_code":"U","verification_uri":%s,"expires_in":600}`, quoted(page))))
		code, err := client.RequestCode(t.Context(), m, "", url.Values{}, "")
		if err != nil || code.VerificationURI != page {
			t.Errorf("%q: got %q, %v", page, code.VerificationURI, err)
		}
	}
}

func quoted(text string) string {
	out := fmt.Sprintf("%+q", text)
	return strings.ReplaceAll(out, `\x00`, `\u0000`)
}

// TestAnIssuerElsewhereHasNoEndpointHere has a server's metadata lead the gateway to itself.
func TestAnIssuerElsewhereHasNoEndpointHere(t *testing.T) {
	for _, endpoint := range []string{"https://127.0.0.1/t", "https://localhost:8443/t", "https://[::1]/t", "http://127.0.0.1/t", "http://localhost/t"} {
		c := deviceauth.Client{HTTP: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			return reply(200, "application/json", fmt.Sprintf(`{"issuer":"https://a.example","device_authorization_endpoint":"https://a.example/d","token_endpoint":%q}`, endpoint)), nil
		})}}
		if m, err := c.Discover(t.Context(), "https://a.example"); !errors.Is(err, mfpgate.ErrRefused) {
			t.Errorf("%s: got %+v, %v, want ErrRefused", endpoint, m, err)
		}
	}
}
