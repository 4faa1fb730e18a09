package print_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/print"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

func requestOf(t *testing.T, key any, extensions ...pkix.Extension) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "root"}, DNSNames: []string{"bank.example"}, ExtraExtensions: extensions,
	}, key)
	servertest.Must(t, err)
	return der
}

func TestCertificateRequests(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	servertest.Must(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	servertest.Must(t, err)
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	servertest.Must(t, err)
	t.Setenv("GODEBUG", "rsa1024min=0")
	rsa1024, err := rsa.GenerateKey(rand.Reader, 1024)
	servertest.Must(t, err)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	servertest.Must(t, err)
	ca, err := asn1.Marshal(struct{ CA bool }{true})
	servertest.Must(t, err)
	good := requestOf(t, p256)
	forged := append([]byte{}, good...)
	forged[len(forged)-5] ^= 1
	for _, c := range []struct {
		rule string
		der  []byte
		want int
	}{
		{"P-256", good, 202},
		{"RSA of 2048 bits", requestOf(t, rsa2048), 202},
		{"one that asks to be an authority", requestOf(t, p256, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: ca}), 202},
		{"P-384", requestOf(t, p384), 422},
		{"RSA of 1024 bits", requestOf(t, rsa1024), 422},
		{"Ed25519", requestOf(t, edwards), 422},
		{"signed by nobody", forged, 422},
		{"no DER", []byte("hello"), 422},
		{"none", nil, 422},
		{"more than one", append(good, good...), 422},
	} {
		d := newDesk(t)
		d.run()
		token := d.granted()
		got := d.api(http.MethodPost, "/print/v1/printers", token, "k", map[string]any{"deviceUuid": deviceUUID, "certificateRequest": c.der})
		if got.status != c.want {
			t.Errorf("%s: %d %s", c.rule, got.status, got.body)
			continue
		}
		if got.status != http.StatusAccepted {
			if d.count("operation/")+d.count("printer/") != 0 {
				t.Errorf("%s left something", c.rule)
			}
			continue
		}
		op := d.register(token, "other", c.der)
		cert, err := x509.ParseCertificate(op.Certificate)
		servertest.Must(t, err)
		if cert.IsCA || len(cert.DNSNames) != 0 || cert.Subject.CommonName != op.PrinterID || cert.KeyUsage != x509.KeyUsageDigitalSignature ||
			len(cert.ExtKeyUsage) != 1 || cert.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth || cert.NotAfter.Sub(noon) != 365*24*time.Hour {
			t.Errorf("%s: %+v", c.rule, cert.Subject)
		}
		if err := cert.CheckSignatureFrom(authority().Certificate); err != nil {
			t.Errorf("%s: %v", c.rule, err)
		}
	}
}

// Registering again made a second printer (google/cloud-print-connector #208; "reset one printer" scripts, universal-print-resources #6).
func TestADeviceIsOnePrinter(t *testing.T) {
	d := newDesk(t)
	d.run()
	first, key := csr(t)
	token := d.granted()
	a := d.register(token, "k1", first)
	if again := d.register(token, "k1", first); again.OperationID != a.OperationID {
		t.Errorf("the same key again: operation %s, first %s", again.OperationID, a.OperationID)
	}
	d.fake.Advance(time.Minute)
	second, _ := csr(t)
	b := d.register(d.granted("device_name", "renamed", "device_uuid", strings.ToUpper(deviceUUID)), "k2", second)
	if a.PrinterID != b.PrinterID || d.count("printer/") != 1 || d.count("device/") != 1 {
		t.Errorf("printers %s and %s", a.PrinterID, b.PrinterID)
	}
	old, err := x509.ParseCertificate(a.Certificate)
	servertest.Must(t, err)
	renewed, err := x509.ParseCertificate(b.Certificate)
	servertest.Must(t, err)
	if !key.PublicKey.Equal(old.PublicKey) || key.PublicKey.Equal(renewed.PublicKey) || old.SerialNumber.Cmp(renewed.SerialNumber) == 0 {
		t.Error("the second certificate is not a new one of the new key")
	}
	d.await("letters", func() bool { return d.count("journal/intent/letter/") == 0 })
	if n := len(d.mail.list()); n != 2 {
		t.Errorf("%d letters to two users", n)
	}
	if got := d.api(http.MethodPost, "/print/v1/printers", token, "k1", map[string]any{"deviceUuid": deviceUUID, "certificateRequest": second}); got.status != 422 {
		t.Errorf("the same key for another body: %d %s", got.status, got.body)
	}
}

func TestAGrantIsForOneDevice(t *testing.T) {
	d := newDesk(t)
	d.run()
	der, _ := csr(t)
	token := d.granted()
	op := d.register(token, "k", der)
	const other = "11111111-9d4b-4c5e-8f11-2a3b4c5d6e7f"
	stranger := d.granted("device_uuid", other)
	allow := d.granted("scope", "print.allow", "printer_id", op.PrinterID)
	printer := "/print/v1/printers/" + op.PrinterID
	body := map[string]any{"deviceUuid": deviceUUID, "certificateRequest": der}
	for _, c := range []struct {
		rule, method, path, token string
		in                        any
		want                      int
		reason                    string
	}{
		{"another device's grant registers it not", "POST", "/print/v1/printers", stranger, body, 403, "other-device"},
		{"nor reads it", "GET", printer, stranger, nil, 403, "other-device"},
		{"nor takes it away", "DELETE", printer, stranger, nil, 403, "other-device"},
		{"nor its operation", "GET", "/print/v1/operations/" + op.OperationID, stranger, nil, 404, "unknown-operation"},
		{"a grant to allow users does not register", "POST", "/print/v1/printers", allow, body, 403, "scope-missing"},
		{"nor unregister", "DELETE", printer, allow, nil, 403, "scope-missing"},
		{"a grant to register allows nobody more", "POST", printer + "/users", token, map[string]any{"user": hana}, 403, "scope-missing"},
		{"a user whom the administrator chose", "POST", printer + "/users", allow, map[string]any{"user": "Ken@example.jp"}, 200, ""},
		{"the same again", "POST", printer + "/users", allow, map[string]any{"user": "ken@example.jp"}, 200, ""},
		{"one whom nobody chose", "POST", printer + "/users", allow, map[string]any{"user": "eve@example.jp"}, 403, "user-not-allowed"},
		{"one that is no address", "POST", printer + "/users", allow, map[string]any{"user": "eve"}, 422, "invalid-request"},
		{"a token that is none", "GET", printer, "pt_x", nil, 401, "token-refused"},
		{"a device code is no token", "GET", printer, d.code().DeviceCode, nil, 401, "token-refused"},
		{"no such printer", "GET", "/print/v1/printers/prn_x", token, nil, 404, "unknown-printer"},
		{"its own grant takes it away", "DELETE", printer, token, nil, 204, ""},
		{"once", "DELETE", printer, token, nil, 404, "unknown-printer"},
		{"then no user is allowed on it", "POST", printer + "/users", allow, map[string]any{"user": "ken@example.jp"}, 404, "unknown-printer"},
	} {
		got := d.api(c.method, c.path, c.token, "z"+c.rule, c.in)
		var p struct{ Type string }
		_ = json.Unmarshal([]byte(got.body), &p) // an answer may have no body
		if got.status != c.want || c.reason != "" && !strings.HasSuffix(p.Type, "/"+c.reason) || got.status == 401 && got.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d %s, want %d %s", c.rule, got.status, got.body, c.want, c.reason)
		}
	}
	d.fake.Advance(time.Hour)
	if got := d.api("GET", printer, token, "", nil); got.status != 401 {
		t.Errorf("a token after its time: %d", got.status)
	}
	fresh := d.register(d.granted(), "k", der)
	if fresh.PrinterID == op.PrinterID {
		t.Error("an id was used again")
	}
}

// What the administrator saw is what is entered, whatever the device says afterwards.
func TestWhatWasApprovedIsEntered(t *testing.T) {
	d := newDesk(t)
	d.run()
	der, _ := csr(t)
	token := d.granted("device_location", "")
	got := d.api(http.MethodPost, "/print/v1/printers", token, "k0", map[string]any{
		"deviceUuid": deviceUUID, "name": "the boss's", "serial": "B", "location": "3F", "certificateRequest": der,
	})
	if got.status != http.StatusAccepted {
		t.Fatal(got.body)
	}
	op := d.register(token, "k1", der)
	p := decode[struct{ Name, Serial, Location string }](t, d.api(http.MethodGet, "/print/v1/printers/"+op.PrinterID, token, "", nil))
	if p.Name != "2F copier" || p.Serial != "A17-0042" || p.Location != "3F" {
		t.Errorf("%+v", p)
	}
}

func TestUsersConfirmTheirAddress(t *testing.T) {
	d := newDesk(t)
	d.run()
	der, _ := csr(t)
	op := d.register(d.granted(), "k", der)
	if op.UserState != "unconfirmed" {
		t.Errorf("%+v", op)
	}
	d.await("letters", func() bool { return d.count("journal/intent/letter/") == 0 })
	link := map[string]string{}
	for _, l := range d.mail.list() {
		_, path, _ := strings.Cut(l.Text, base)
		link[l.To], _, _ = strings.Cut(path, "\n")
		if strings.ContainsAny(l.ID+l.To+l.Subject, "\r\n/") || !strings.Contains(l.Text, admin+" has allowed "+l.To) {
			t.Errorf("%+v", l)
		}
	}
	if got := d.get(link[hana]); got.status != 200 || !strings.Contains(got.body, "Is this mail address yours?") {
		t.Errorf("%d %s", got.status, got.body)
	}
	for _, wrong := range []string{link[hana] + "x", link[hana][:len(link[hana])-1], "/print/confirm/usr_1.x", strings.Split(link[hana], ".")[0] + "." + strings.Split(link["ken@example.jp"], ".")[1]} {
		if got := d.form(wrong, nil, "Sec-Fetch-Site", "same-origin"); got.status != 404 {
			t.Errorf("%s: %d", wrong, got.status)
		}
	}
	for range 2 {
		if got := d.form(link[hana], nil, "Sec-Fetch-Site", "same-origin"); got.status != 200 || !strings.Contains(got.body, "is confirmed") {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
	shown := d.page(admin, "/print/").body
	if strings.Count(shown, "</span> allowed</span>") != 1 || strings.Count(shown, "</span> unconfirmed</span>") != 1 {
		t.Error(shown)
	}
	remind := "/print/printers/" + op.PrinterID + "/remind"
	ken := map[string][]string{"user": {"ken@example.jp"}}
	if got := d.as(admin, remind, ken); got.status != 429 {
		t.Errorf("a second letter at once: %d", got.status)
	}
	d.fake.Advance(time.Hour)
	if got := d.as(admin, remind, ken); got.status != 303 {
		t.Errorf("an hour later: %d %s", got.status, got.body)
	}
	d.await("the second letter", func() bool { return len(d.mail.list()) == 3 })
	if got := d.form(link["ken@example.jp"], nil, "Sec-Fetch-Site", "same-origin"); got.status != 404 {
		t.Errorf("the first link: %d", got.status)
	}
	_, path, _ := strings.Cut(d.mail.list()[2].Text, base)
	path, _, _ = strings.Cut(path, "\n")
	d.fake.Advance(7 * 24 * time.Hour)
	if got := d.form(path, nil, "Sec-Fetch-Site", "same-origin"); got.status != 410 {
		t.Errorf("a week later: %d", got.status)
	}
	if got := d.as(admin, "/print/printers/"+op.PrinterID+"/remove", ken); got.status != 303 || strings.Contains(d.page(admin, "/print/").body, "ken@example.jp") {
		t.Errorf("remove: %d", got.status)
	}
	if got := d.as(admin, "/print/printers/"+op.PrinterID+"/unregister", nil); got.status != 303 || d.count("printer/") != 0 {
		t.Errorf("unregister: %d", got.status)
	}
}

func TestALetterThatIsRefusedIsShown(t *testing.T) {
	d := newDesk(t)
	d.mail.fail = fmt.Errorf("550 no such mailbox: %w", mfpgate.ErrRefused)
	d.run()
	der, _ := csr(t)
	d.register(d.granted(), "k", der)
	d.await("the refusal", func() bool {
		return strings.Contains(d.page(admin, "/print/").body, "the letter was refused: 550 no such mailbox")
	})
}

func TestALetterWaitsForTheServer(t *testing.T) {
	d := newDesk(t)
	d.mail.mu.Lock()
	d.mail.fail = errors.New("connection refused")
	d.mail.mu.Unlock()
	d.run()
	der, _ := csr(t)
	d.register(d.granted(), "k", der)
	d.await("a try", func() bool {
		for key, value := range d.dump() {
			if strings.HasPrefix(key, "journal/intent/letter/") && strings.Contains(value, "connection refused") {
				return true
			}
		}
		return false
	})
	d.mail.mu.Lock()
	d.mail.fail = nil
	d.mail.mu.Unlock()
	d.await("both letters", func() bool {
		d.fake.Advance(time.Minute)
		return len(d.mail.list()) == 2
	})
}

func TestWithoutMailTheLinkIsShown(t *testing.T) {
	d := newDesk(t, func(o *print.Options) { o.Mailer = nil })
	d.run()
	der, _ := csr(t)
	d.register(d.granted(), "k", der)
	_, path, found := strings.Cut(d.page(admin, "/print/").body, "<code>"+base+"/print/confirm/")
	path, _, _ = strings.Cut(path, "<")
	if got := d.form("/print/confirm/"+path, nil, "Sec-Fetch-Site", "same-origin"); !found || got.status != 200 {
		t.Errorf("%q: %d", path, got.status)
	}
}
