package deviceauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/print/deviceauth"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

const (
	oauthPath  = "/.well-known/oauth-authorization-server"
	openIDPath = "/.well-known/openid-configuration"
)

func document(issuer string) string {
	return fmt.Sprintf(`{"issuer":%q,"device_authorization_endpoint":"%s/d","token_endpoint":"%s/t","scopes_supported":["a","b"]}`,
		issuer, strings.TrimSuffix(issuer, "/"), strings.TrimSuffix(issuer, "/"))
}

func TestDiscover(t *testing.T) {
	page := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>welcome</html>") }
	for _, tt := range []struct {
		rule  string
		path  string // of the issuer
		pages map[string]func(issuer string) http.HandlerFunc
	}{
		{"RFC 8414 §3", "", map[string]func(string) http.HandlerFunc{
			oauthPath: func(i string) http.HandlerFunc { return answer(200, document(i)) },
		}},
		{"RFC 8414 §3.1: the path comes last", "/tenant/1", map[string]func(string) http.HandlerFunc{
			oauthPath + "/tenant/1": func(i string) http.HandlerFunc { return answer(200, document(i)) },
		}},
		{"OpenID: the path comes first", "/tenant/1", map[string]func(string) http.HandlerFunc{
			"/tenant/1" + openIDPath: func(i string) http.HandlerFunc { return answer(200, document(i)) },
		}},
		{"an issuer that ends with a slash", "/", map[string]func(string) http.HandlerFunc{
			openIDPath: func(i string) http.HandlerFunc { return answer(200, document(i)) },
		}},
		{"a site with a page for every path", "", map[string]func(string) http.HandlerFunc{
			oauthPath:  func(string) http.HandlerFunc { return page },
			openIDPath: func(i string) http.HandlerFunc { return answer(200, document(i)) },
		}},
		{"a site that sends the unknown to its door", "", map[string]func(string) http.HandlerFunc{
			oauthPath:  func(string) http.HandlerFunc { return http.RedirectHandler("/login", http.StatusFound).ServeHTTP },
			openIDPath: func(i string) http.HandlerFunc { return answer(200, document(i)) },
		}},
		{"a document without the device grant", "", map[string]func(string) http.HandlerFunc{
			oauthPath: func(i string) http.HandlerFunc {
				return answer(200, fmt.Sprintf(`{"issuer":%q,"token_endpoint":%q}`, i, i+"/t"))
			},
			openIDPath: func(i string) http.HandlerFunc { return answer(200, document(i)) },
		}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			var issuer string
			c, _, base := server(t, func(w http.ResponseWriter, r *http.Request) {
				if h, ok := tt.pages[r.URL.Path]; ok {
					h(issuer)(w, r)
					return
				}
				http.NotFound(w, r)
			})
			issuer = base + tt.path
			got, err := c.Discover(t.Context(), issuer)
			if err != nil {
				t.Fatal(err)
			}
			trim := strings.TrimSuffix(issuer, "/")
			want := deviceauth.Metadata{Issuer: issuer, DeviceAuthorization: trim + "/d", Token: trim + "/t", Scopes: []string{"a", "b"}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDiscoverRefuses(t *testing.T) {
	with := func(change func(issuer string) string) func(string) http.HandlerFunc {
		return func(i string) http.HandlerFunc { return answer(200, change(i)) }
	}
	for _, tt := range []struct {
		rule    string
		answer  func(issuer string) http.HandlerFunc
		refused bool
	}{
		{"another issuer", with(func(string) string { return document("https://evil.example") }), true},
		{"an issuer with one more slash", with(func(i string) string { return strings.Replace(document(i), i, i+"/", 1) }), true},
		{"an issuer in other letters", with(func(i string) string { return strings.Replace(document(i), "http", "HTTP", 1) }), true},
		{"no issuer", with(func(i string) string { return strings.Replace(document(i), "issuer", "issue", 1) }), true},
		{"a token endpoint in clear", with(func(i string) string { return strings.Replace(document(i), i+"/t", "http://a.example/t", 1) }), true},
		{"a token endpoint with a user", with(func(i string) string { return strings.Replace(document(i), i+"/t", "https://u:p@a.example/t", 1) }), true},
		{"a relative endpoint", with(func(i string) string { return strings.Replace(document(i), i+"/t", "/t", 1) }), true},
		{"no device grant", with(func(i string) string { return fmt.Sprintf(`{"issuer":%q,"token_endpoint":%q}`, i, i) }), true},
		{"not there", func(string) http.HandlerFunc { return http.NotFound }, true},
		{"two issuers", with(func(i string) string { return strings.Replace(document(i), "{", `{"issuer":"x",`, 1) }), false},
		{"a broken server", func(string) http.HandlerFunc { return answer(500, `{}`) }, false},
		{"a busy server", func(string) http.HandlerFunc { return answer(429, `{}`, "Retry-After", "9") }, false},
		{"an endpoint that is no text", with(func(i string) string { return strings.Replace(document(i), `"`+i+`/t"`, "7", 1) }), false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			var issuer string
			c, _, base := server(t, func(w http.ResponseWriter, r *http.Request) { tt.answer(issuer)(w, r) })
			issuer = base
			got, err := c.Discover(t.Context(), issuer)
			if err == nil || errors.Is(err, mfpgate.ErrRefused) != tt.refused {
				t.Errorf("got %v, %v, want refused: %v", got, err, tt.refused)
			}
		})
	}
}

func TestAnIssuerOfHTTPSHasNoClearEndpoint(t *testing.T) {
	c := deviceauth.Client{HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		return reply(200, "application/json", `{"issuer":"https://a.example","device_authorization_endpoint":"https://a.example/d","token_endpoint":"http://127.0.0.1/t"}`), nil
	})}}
	if _, err := c.Discover(t.Context(), "https://a.example"); !errors.Is(err, mfpgate.ErrRefused) {
		t.Errorf("got %v, want ErrRefused", err)
	}
	for _, issuer := range []string{"http://a.example", "https://a.example?x", "https://a.example#x", "a.example", ""} {
		if _, err := c.Discover(t.Context(), issuer); !errors.Is(err, mfpgate.ErrRefused) {
			t.Errorf("%q: got %v, want ErrRefused", issuer, err)
		}
	}
}

func TestIssuerRemembers(t *testing.T) {
	clock := fakeclock.New(noon)
	var asked int
	var issuer string
	reply := func(w http.ResponseWriter, r *http.Request) { answer(200, document(issuer))(w, r) }
	c, _, base := server(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		reply(w, r)
	})
	issuer, c.Clock = base, clock
	i := deviceauth.NewIssuer(c, issuer)
	step := func(after time.Duration, wantAsked int, wantErr bool) {
		t.Helper()
		clock.Advance(after)
		got, err := i.Metadata(t.Context())
		if asked != wantAsked || (err != nil) != wantErr || !wantErr && got.Token != issuer+"/t" {
			t.Errorf("asked %d times, got %v, %v, want %d times, an error: %v", asked, got, err, wantAsked, wantErr)
		}
	}
	step(0, 1, false)
	step(9*time.Minute, 1, false)
	step(time.Minute, 2, false)
	reply = answer(500, `{}`)
	step(10*time.Minute, 3, false) // the last known serve
	step(30*time.Second, 3, false)
	step(30*time.Second, 4, false)
	reply = answer(200, document("https://evil.example"))
	step(time.Minute, 5, true) // another issuer is none

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := deviceauth.NewIssuer(c, issuer).Metadata(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's end", err)
	}
}
