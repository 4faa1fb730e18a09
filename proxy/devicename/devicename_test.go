package devicename_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/devicename"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

const (
	key       = mfpgate.Secret("0123456789abcdef")
	branch    = "branch-7"
	authority = "cloud.example:443"
	device    = mfpgate.DeviceID("dev_01JD0000000000000000000000")
)

func clock() *fakeclock.Clock { return fakeclock.New(time.Unix(1_700_000_000, 0)) }

func TestHeaderIsStable(t *testing.T) {
	got := devicename.Sign(clock(), key, branch, http.MethodConnect, authority, device)
	// Computed with Python's hmac, over struct.pack(">I", len(w)) + w for each word.
	want := `"dev_01JD0000000000000000000000";created=1700000000;key="branch-7";sig=:xO7ByHMmgqP1KaHPycB4k2EUvfGBbsunZhnTfXH3h0g=:`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestVerify(t *testing.T) {
	signed := devicename.Sign(clock(), key, branch, http.MethodConnect, authority, device)
	sig := signed[strings.Index(signed, "sig="):]
	for _, tc := range []struct {
		rule   string
		change func(*call)
		want   error // nil is accepted
	}{
		{"as signed", func(*call) {}, nil},
		{"60 s old", func(c *call) { c.clock.Advance(60 * time.Second) }, nil},
		{"61 s old", func(c *call) { c.clock.Advance(61 * time.Second) }, devicename.ErrStale},
		{"60 s ahead", func(c *call) { c.clock.Advance(-60 * time.Second) }, nil},
		{"61 s ahead", func(c *call) { c.clock.Advance(-61 * time.Second) }, devicename.ErrStale},
		{"another key", func(c *call) { c.key += "x" }, devicename.ErrSignature},
		{"another method", func(c *call) { c.method = "GET" }, devicename.ErrSignature},
		{"another authority", func(c *call) { c.authority = "evil.example:443" }, devicename.ErrSignature},
		{"a byte moved between method and authority", func(c *call) { c.method += "c"; c.authority = c.authority[1:] }, devicename.ErrSignature},
		{"another account with the same key", func(c *call) { c.account = "branch-8" }, devicename.ErrSignature},
		{"another device", func(c *call) { c.value = strings.Replace(c.value, "01JD", "01JE", 1) }, devicename.ErrSignature},
		{"another time", func(c *call) { c.value = strings.Replace(c.value, "=17", "=18", 1) }, devicename.ErrSignature},
		{"another account named", func(c *call) { c.value = strings.Replace(c.value, "branch-7", "branch-8", 1) }, devicename.ErrSignature},
		{"parameters in another order, with spaces", func(c *call) {
			c.value = `"` + string(device) + `"; ` + sig + `; key="branch-7";  created=1700000000`
		}, nil},

		{"empty", func(c *call) { c.value = "" }, devicename.ErrMalformed},
		{"a token for the id", func(c *call) { c.value = strings.ReplaceAll(c.value, `"dev_01JD0000000000000000000000"`, "dev_1") }, devicename.ErrMalformed},
		{"another kind of id", func(c *call) { c.value = strings.Replace(c.value, "dev_", "job_", 1) }, devicename.ErrMalformed},
		{"no id behind the prefix", func(c *call) { c.value = strings.Replace(c.value, string(device), "dev_", 1) }, devicename.ErrMalformed},
		{"a slash in the id", func(c *call) { c.value = strings.Replace(c.value, "01JD", "01/D", 1) }, devicename.ErrMalformed},
		{"a long id", func(c *call) { c.value = strings.Replace(c.value, "01JD", strings.Repeat("0", 60), 1) }, devicename.ErrMalformed},
		{"no parameters", func(c *call) { c.value = `"` + string(device) + `"` }, devicename.ErrMalformed},
		{"no signature", func(c *call) { c.value = strings.TrimSuffix(c.value, ";"+sig) }, devicename.ErrMalformed},
		{"a parameter twice", func(c *call) { c.value += ";created=1700000000" }, devicename.ErrMalformed},
		{"an unknown parameter", func(c *call) { c.value += ";x=1" }, devicename.ErrMalformed},
		{"a parameter without a value", func(c *call) { c.value += ";x" }, devicename.ErrMalformed},
		{"a second item", func(c *call) { c.value += `, "dev_1"` }, devicename.ErrMalformed},
		{"a trailing semicolon", func(c *call) { c.value += ";" }, devicename.ErrMalformed},
		{"a sign on the number", func(c *call) { c.value = strings.Replace(c.value, "=17", "=+17", 1) }, devicename.ErrMalformed},
		{"a leading zero", func(c *call) { c.value = strings.Replace(c.value, "=17", "=017", 1) }, devicename.ErrMalformed},
		{"a huge number", func(c *call) { c.value = strings.Replace(c.value, "=17", "=999917", 1) }, devicename.ErrMalformed},
		{"a short signature", func(c *call) { c.value = c.value[:len(c.value)-5] + ":" }, devicename.ErrMalformed},
		{"a line break in the signature", func(c *call) { c.value = c.value[:len(c.value)-3] + "\n=:" }, devicename.ErrMalformed},
		{"an account spelt otherwise", func(c *call) { c.value = strings.Replace(c.value, "branch-7", "%62ranch-7", 1) }, devicename.ErrMalformed},
		{"a broken escape", func(c *call) { c.value = strings.Replace(c.value, "branch-7", "%6", 1) }, devicename.ErrMalformed},
		{"an empty account", func(c *call) { c.value = strings.Replace(c.value, "branch-7", "", 1) }, devicename.ErrMalformed},
		{"beyond the bound", func(c *call) { c.value += strings.Repeat(" ", devicename.MaxLength) }, devicename.ErrMalformed},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			c := &call{clock(), key, branch, http.MethodConnect, authority, signed}
			tc.change(c)
			got, err := devicename.Verify(c.clock, c.key, c.account, c.method, c.authority, c.value)
			want := devicename.Name{}
			if tc.want == nil {
				want = devicename.Name{Account: branch, Device: device}
			}
			if diff := cmp.Diff(want, got); diff != "" || !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v %s", err, tc.want, diff)
			}
		})
	}
}

type call struct {
	clock                             *fakeclock.Clock
	key                               mfpgate.Secret
	account, method, authority, value string
}

func TestAccountsOfAnyText(t *testing.T) {
	for _, account := range []string{"müller", `a"b\c`, "a;b=c", "a b", "100%", strings.Repeat("ü", 127)} {
		value := devicename.Sign(clock(), key, account, http.MethodConnect, authority, device)
		got, err := devicename.Verify(clock(), key, account, http.MethodConnect, authority, value)
		if err != nil || got.Account != account {
			t.Errorf("%q: %+v, %v", account, got, err)
		}
	}
}

// FuzzVerify: a value is taken only if it is Sign's own but for spaces and the order of parameters.
func FuzzVerify(f *testing.F) {
	signed := devicename.Sign(clock(), key, branch, http.MethodConnect, authority, device)
	f.Add(signed)
	f.Add(strings.ReplaceAll(signed, ";", "; "))
	f.Add(`"dev_1";key="%C3%BC";sig=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:;created=1`)
	f.Fuzz(func(t *testing.T, value string) {
		got, err := devicename.Verify(clock(), key, branch, http.MethodConnect, authority, value)
		if err != nil {
			if got != (devicename.Name{}) {
				t.Errorf("%+v beside %v", got, err)
			}
			return
		}
		if got.Account != branch || got.Device != device || len(value) > devicename.MaxLength || !strings.Contains(value, signed[strings.Index(signed, "sig="):]) {
			t.Errorf("%q is taken as %+v", value, got)
		}
	})
}
