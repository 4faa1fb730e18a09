package account_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mfpgate/mfpgate/proxy/account"
)

func basic(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }

func TestParseProxyAuthorization(t *testing.T) {
	for _, tc := range []struct{ rule, header, user, password string }{
		{"RFC 7617 section 2", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"},
		{"RFC 7617 section 2.1, UTF-8", "Basic dGVzdDoxMjPCow==", "test", "123£"},
		{"the scheme in any case", "bASIC " + basic("a:b")[6:], "a", "b"},
		{"several spaces", "Basic   " + basic("a:b")[6:], "a", "b"},
		{"the first colon divides", basic("a:b:c"), "a", "b:c"},
		{"an empty password", basic("a:"), "a", ""},
		{"the longest", basic("u:" + strings.Repeat("p", 760)), "u", strings.Repeat("p", 760)},

		{"nothing", "", "", ""},
		{"only the scheme", "Basic", "", ""},
		{"another scheme", "Bearer YTpi", "", ""},
		{"no colon", basic("ab"), "", ""},
		{"no user", basic(":b"), "", ""},
		{"no padding", "Basic YTpiYw", "", ""},
		{"padding bits that are not zero", "Basic YTpiYx==", "", ""},
		{"the alphabet of URLs", "Basic YTo_Pz8-", "", ""},
		{"a line break", "Basic YTpi\nYmJi", "", ""},
		{"a space inside", "Basic YTpi YmJi", "", ""},
		{"a parameter behind", "Basic YTpi, x=y", "", ""},
		{"Latin-1", basic("a:\xa3"), "", ""},
		{"a control character", basic("a:b\r\nX: y"), "", ""},
		{"a C1 control character", basic("a:\u0085"), "", ""},
		{"NUL", basic("a:b\x00"), "", ""},
		{"too long", basic("u:" + strings.Repeat("p", 764)), "", ""},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			user, password, err := account.ParseProxyAuthorization(tc.header)
			if user != tc.user || password.Reveal() != tc.password || errors.Is(err, account.ErrAuthorization) != (tc.user == "") {
				t.Errorf("got %q, %q, %v; want %q, %q", user, password.Reveal(), err, tc.user, tc.password)
			}
		})
	}
}

func FuzzParseProxyAuthorization(f *testing.F) {
	f.Add(basic("a:b"))
	f.Add("basic  dGVzdDoxMjPCow==")
	f.Add("Basic YTpiYx==")
	f.Fuzz(func(t *testing.T, header string) {
		user, password, err := account.ParseProxyAuthorization(header)
		if err != nil {
			if user != "" || password != "" || !errors.Is(err, account.ErrAuthorization) {
				t.Errorf("%q, %v", user, err)
			}
			return
		}
		text := user + ":" + password.Reveal()
		if user == "" || strings.Contains(user, ":") || !utf8.ValidString(text) || len(header) > account.MaxHeader {
			t.Errorf("%q is taken", header)
		}
		// There is one spelling: what was read encodes to the token.
		if _, token, _ := strings.Cut(basic(text), " "); strings.TrimLeft(header[len("Basic"):], " ") != token {
			t.Errorf("%q is not %q", header, token)
		}
	})
}
