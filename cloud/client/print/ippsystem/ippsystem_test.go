package ippsystem_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/OpenPrinting/goipp"
	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/cloud/client/print/ippsystem"
)

// The port that it is for.
var _ approval.PrintService = (*ippsystem.Service)(nil)

func TestOpen(t *testing.T) {
	for _, tc := range []struct {
		rule, url    string
		plain        bool
		posted, said string // "" is refused
	}{
		{rule: "ipps has its own port", url: "ipps://print.example/ipp/system", posted: "https://print.example:631/ipp/system", said: "ipps://print.example/ipp/system"},
		{rule: "a port that is named", url: "ipps://print.example:8443/ipp/system", posted: "https://print.example:8443/ipp/system", said: "ipps://print.example:8443/ipp/system"},
		{rule: "https is ipps at 443", url: "https://print.example/ipp/system", posted: "https://print.example/ipp/system", said: "ipps://print.example:443/ipp/system"},
		{rule: "the usual path", url: "ipps://print.example", posted: "https://print.example:631/ipp/system", said: "ipps://print.example/ipp/system"},
		{rule: "IPv6", url: "ipps://[2001:db8::1]/ipp/system", posted: "https://[2001:db8::1]:631/ipp/system", said: "ipps://[2001:db8::1]/ipp/system"},
		{rule: "plain to this machine", url: "ipp://127.0.0.1:8631/ipp/system", posted: "http://127.0.0.1:8631/ipp/system", said: "ipp://127.0.0.1:8631/ipp/system"},
		{rule: "plain http to this machine", url: "http://localhost/ipp/system", posted: "http://localhost/ipp/system", said: "ipp://localhost:80/ipp/system"},
		{rule: "plain elsewhere", url: "ipp://print.example/ipp/system"},
		{rule: "plain elsewhere, allowed", url: "ipp://print.example/ipp/system", plain: true, posted: "http://print.example:631/ipp/system", said: "ipp://print.example/ipp/system"},
		{rule: "another scheme", url: "ftp://print.example/ipp/system"},
		{rule: "no host", url: "ipps:///ipp/system"},
		{rule: "a user", url: "ipps://a:b@print.example/ipp/system"},
		{rule: "a query", url: "ipps://print.example/ipp/system?x=1"},
		{rule: "no URL", url: "://"},
	} {
		posted, said, err := ippsystem.TargetForTest(tc.url, tc.plain)
		if posted != tc.posted || said != tc.said || (err == nil) != (tc.posted != "") {
			t.Errorf("%s: %q, %q, %v", tc.rule, posted, said, err)
		}
		if err != nil && strings.Contains(err.Error(), "a:b") {
			t.Errorf("%s: the error tells a password: %v", tc.rule, err)
		}
	}
	if _, err := ippsystem.Open(ippsystem.Options{URL: "ipps://print.example", Authority: "http://login.example"}); err == nil {
		t.Error("an authority without TLS is taken")
	}
}

// TestWhoIsAsked reads what systems say of who decides.
func TestWhoIsAsked(t *testing.T) {
	mandatory := func(names ...string) goipp.Attribute {
		return text("system-mandatory-registration-attributes", goipp.TagKeyword, names...)
	}
	for _, tc := range []struct {
		rule      string
		says      []goipp.Attribute
		authority string
		device    mfpgate.PrintDevice
		purpose   mfpgate.RegistrationPurpose
		want      error  // nil: neither ErrRefused nor ErrNobodyAsked, worth another try
		why       string // in the error
	}{
		{rule: "no authorization server", want: mfpgate.ErrNobodyAsked},
		{rule: "no value for it", says: []goipp.Attribute{noValue("oauth-authorization-server-uri"), noValue("oauth-authorization-scope")}, want: mfpgate.ErrNobodyAsked},
		{rule: "what cannot be read is not nobody", says: []goipp.Attribute{text("oauth-authorization-server-uri", goipp.TagText, "https://login.example")}, why: "no URI"},
		{rule: "two of them are not nobody", says: []goipp.Attribute{text("oauth-authorization-server-uri", goipp.TagURI, "https://a.example", "https://b.example")}, why: "no URI"},
		{rule: "OAuth without a server is not nobody", says: []goipp.Attribute{text("uri-authentication-supported", goipp.TagKeyword, "oauth")}, why: "no authorization server"},
		{rule: "a login that we have not", says: []goipp.Attribute{text("xri-authentication-supported", goipp.TagKeyword, "basic", "certificate")}, want: mfpgate.ErrRefused, why: "basic or certificate"},
		{rule: "a login that we need not", says: []goipp.Attribute{text("xri-authentication-supported", goipp.TagKeyword, "basic", "none")}, want: mfpgate.ErrNobodyAsked},
		{rule: "a plain authorization server", says: []goipp.Attribute{issuer("http://login.example")}, want: mfpgate.ErrRefused, why: "https://"},
		{rule: "another authorization server than pinned", says: []goipp.Attribute{issuer("https://evil.example")}, authority: "https://login.example", want: mfpgate.ErrRefused, why: "evil.example"},
		{rule: "none where one is pinned", authority: "https://login.example", want: mfpgate.ErrRefused, why: "as configured"},
		{rule: "it does not register", says: []goipp.Attribute{operations(goipp.OpGetSystemAttributes)}, want: mfpgate.ErrRefused, why: "does not register"},
		{rule: "it is no system", says: []goipp.Attribute{noValue("operations-supported")}, why: "operations-supported"},
		{rule: "it wants what we have", says: []goipp.Attribute{mandatory("output-device-uuid", "printer-service-type", "printer-info", "printer-serial-number")}, want: mfpgate.ErrNobodyAsked},
		{rule: "it wants a certificate", says: []goipp.Attribute{mandatory("output-device-uuid", "output-device-x509-request")}, want: mfpgate.ErrRefused, why: "output-device-x509-request"},
		{rule: "it wants what the device does not tell", says: []goipp.Attribute{mandatory("printer-location")}, device: mfpgate.PrintDevice{UUID: device("a").UUID}, want: mfpgate.ErrRefused, why: "printer-location"},
		{rule: "a device without a UUID", device: mfpgate.PrintDevice{Name: "2F"}, want: mfpgate.ErrRefused, why: "no UUID"},
		{rule: "one more user", purpose: mfpgate.PurposeAllowUser, want: mfpgate.ErrRefused, why: "users"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			f := newFake(t)
			f.says(tc.says...)
			if tc.device == (mfpgate.PrintDevice{}) {
				tc.device = device("a")
			}
			s := open(t, ippsystem.Options{URL: f.url, Authority: tc.authority})
			_, err := s.RequestCode(t.Context(), mfpgate.CodeRequest{Device: tc.device, Purpose: tc.purpose})
			if err == nil || errors.Is(err, mfpgate.ErrRefused) != (tc.want == mfpgate.ErrRefused) || errors.Is(err, mfpgate.ErrNobodyAsked) != (tc.want == mfpgate.ErrNobodyAsked) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if !strings.Contains(err.Error(), tc.why) {
				t.Errorf("it does not say %q: %v", tc.why, err)
			}
		})
	}
}

func TestRegistrationTellsNoMoreThanItMust(t *testing.T) {
	f := newFake(t)
	f.says(text("system-mandatory-registration-attributes", goipp.TagKeyword, "output-device-uuid", "printer-make-and-model"))
	d := device("a")
	d.UUID = strings.ToUpper(d.UUID)
	if _, err := f.open(t).Enter(t.Context(), mfpgate.Grant{}, mfpgate.PrinterRequest{Device: d, User: "a@b.example"}); err != nil {
		t.Fatal(err)
	}
	m := f.asked(goipp.OpRegisterOutputDevice)[0]
	show := func(group goipp.Attributes) (out []string) {
		for _, a := range group {
			out = append(out, a.Name+"="+a.Values.String())
		}
		return out
	}
	want := []string{"attributes-charset=utf-8", "attributes-natural-language=en", "system-uri=" + f.url, "requesting-user-name=mfpgate",
		"output-device-uuid=urn:uuid:99999999-0000-4000-8000-00000000000a", "printer-service-type=print"}
	if diff := cmp.Diff(want, show(m.Operation)); diff != "" {
		t.Errorf("operation (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"printer-make-and-model=HP E52645"}, show(m.Printer)); diff != "" {
		t.Errorf("printer (-want +got):\n%s", diff)
	}
	if m.Version != goipp.MakeVersion(2, 0) {
		t.Errorf("version %s", m.Version)
	}
}

func TestWhereThePrinterMayBe(t *testing.T) {
	for _, tc := range []struct {
		rule string
		uris []string
		want string // "" is refused
	}{
		{"the system's host, another port", []string{"ipp://127.0.0.1:8631/p"}, "ipp://127.0.0.1:8631/p"},
		{"TLS first", []string{"ipp://127.0.0.1/p", "ipps://127.0.0.1/p"}, "ipps://127.0.0.1/p"},
		{"another host", []string{"ipps://evil.example/p"}, ""},
		{"a host that is allowed", []string{"ipps://evil.example/p", "ipps://Infra.Example/p"}, "ipps://Infra.Example/p"},
		{"a user in it", []string{"ipps://infra.example@evil.example/p"}, ""},
		{"no IPP", []string{"file:///etc/passwd", "javascript:x"}, ""},
		{"a host that only begins so", []string{"ipps://infra.example.evil.example/p"}, ""},
	} {
		f := newFake(t)
		f.printer = printerAt(tc.uris...)
		s := open(t, ippsystem.Options{URL: f.url, PrinterHosts: []string{"infra.example"}})
		got, err := s.Enter(t.Context(), mfpgate.Grant{}, mfpgate.PrinterRequest{Device: device("a")})
		if got.Printer.URI != tc.want || (err == nil) != (tc.want != "") || err != nil && !errors.Is(err, mfpgate.ErrRefused) {
			t.Errorf("%s: %+v, %v", tc.rule, got, err)
		}
	}
}

// delay is how long an error wants to be left alone.
func delay(err error) time.Duration {
	var d interface{ Delay() time.Duration }
	if errors.As(err, &d) {
		return d.Delay()
	}
	return 0
}

func TestRefusals(t *testing.T) {
	status := func(s goipp.Status, http int, headers ...string) func(goipp.Op, answer, uint32) bool {
		return func(op goipp.Op, w answer, id uint32) bool {
			if op != goipp.OpRegisterOutputDevice {
				return false
			}
			for i := 0; i+1 < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			a := goipp.NewResponse(goipp.MakeVersion(2, 0), s, id)
			a.Operation.Add(text("attributes-charset", goipp.TagCharset, "utf-8"))
			a.Operation.Add(text("attributes-natural-language", goipp.TagLanguage, "en"))
			a.Operation.Add(text("status-message", goipp.TagText, "no, t0ken is not good"))
			w.Header().Set("Content-Type", "application/ipp")
			w.WriteHeader(http)
			data, _ := a.EncodeBytes()
			_, _ = w.Write(data)
			return true
		}
	}
	page := func(http int, headers ...string) func(goipp.Op, answer, uint32) bool {
		return func(op goipp.Op, w answer, _ uint32) bool {
			if op != goipp.OpRegisterOutputDevice {
				return false
			}
			w.Header().Set("Content-Type", "text/html")
			for i := 0; i+1 < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(http)
			_, _ = w.Write([]byte("<html>"))
			return true
		}
	}
	for _, tc := range []struct {
		rule   string
		refuse func(goipp.Op, answer, uint32) bool
		token  mfpgate.Secret
		want   error // nil: worth another try
		wait   time.Duration
	}{
		{rule: "a token that is not good", refuse: status(goipp.StatusErrorNotAuthenticated, 401), token: "t0ken", want: mfpgate.ErrInvalidGrant},
		{rule: "the same with HTTP 200", refuse: status(goipp.StatusErrorNotAuthenticated, 200), token: "t0ken", want: mfpgate.ErrInvalidGrant},
		{rule: "the same in HTTP alone", refuse: page(401), token: "t0ken", want: mfpgate.ErrInvalidGrant},
		{rule: "a login for anybody", refuse: page(401), want: mfpgate.ErrRefused},
		{rule: "not for this device", refuse: status(goipp.StatusErrorNotAuthorized, 200), token: "t0ken", want: mfpgate.ErrRefused},
		{rule: "forbidden", refuse: status(goipp.StatusErrorForbidden, 200), want: mfpgate.ErrRefused},
		{rule: "bad request", refuse: status(goipp.StatusErrorBadRequest, 200), want: mfpgate.ErrRefused},
		{rule: "no such operation", refuse: status(goipp.StatusErrorOperationNotSupported, 200), want: mfpgate.ErrRefused},
		{rule: "no such version", refuse: status(goipp.StatusErrorVersionNotSupported, 200), want: mfpgate.ErrRefused},
		{rule: "a status of tomorrow", refuse: status(0x0480, 200), want: mfpgate.ErrRefused},
		{rule: "busy", refuse: status(goipp.StatusErrorBusy, 200)},
		{rule: "busy until then", refuse: status(goipp.StatusErrorBusy, 200, "Retry-After", "90"), wait: 90 * time.Second},
		{rule: "broken", refuse: status(goipp.StatusErrorInternal, 200)},
		{rule: "a page on the way", refuse: page(200)},
		{rule: "no page", refuse: page(404)},
		{rule: "a proxy says later", refuse: page(503, "Retry-After", "30"), wait: 30 * time.Second},
		{rule: "a redirect is not followed", refuse: page(307, "Location", "/elsewhere")},
		{rule: "a success under another HTTP status", refuse: status(goipp.StatusOk, 500)},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			f := newFake(t)
			f.refuse = tc.refuse
			s := f.open(t)
			_, err := s.Enter(t.Context(), mfpgate.Grant{Token: tc.token}, mfpgate.PrinterRequest{Device: device("a")})
			for _, sentinel := range []error{mfpgate.ErrRefused, mfpgate.ErrInvalidGrant} {
				if err == nil || errors.Is(err, sentinel) != (tc.want == sentinel) {
					t.Errorf("got %v, want %v", err, tc.want)
				}
			}
			if got := delay(err); got != tc.wait {
				t.Errorf("wait %v, want %v", got, tc.wait)
			}
			if err != nil && tc.token != "" && strings.Contains(err.Error(), tc.token.Reveal()) {
				t.Errorf("the error tells the token: %v", err)
			}
		})
	}
}

// answer is where an answer goes.
type answer = http.ResponseWriter

// TestATokenStaysOffPlainWires goes through a proxy, which sees what would go to another machine.
func TestATokenStaysOffPlainWires(t *testing.T) {
	f := newFake(t)
	f.printer = printerAt("ipp://print.example/ipp/print/1")
	at, err := url.Parse(f.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, ippsystem.Options{URL: "ipp://print.example/ipp/system", Plain: true, Proxy: http.ProxyURL(at)})
	request := mfpgate.PrinterRequest{Device: device("a")}
	if _, err := s.Enter(t.Context(), mfpgate.Grant{Token: "t0ken"}, request); !errors.Is(err, mfpgate.ErrRefused) {
		t.Errorf("with a token: %v", err)
	}
	if _, err := s.Enter(t.Context(), mfpgate.Grant{}, request); err != nil {
		t.Errorf("without: %v", err)
	}
	f.says(issuer("https://login.example"))
	if _, err := s.RequestCode(t.Context(), mfpgate.CodeRequest{Device: device("a")}); !errors.Is(err, mfpgate.ErrRefused) {
		t.Errorf("a system that would want one: %v", err)
	}
	for _, h := range f.headers {
		if h.Get("Authorization") != "" {
			t.Error("a token went over the wire")
		}
	}
}
