package portal_test

import (
	"context"
	"encoding/xml"
	"image"
	"image/color"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/portal"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
)

// read draws the picture as a browser would, and reads the code as a phone does.
func readCode(t *testing.T, picture string) string {
	t.Helper()
	var svg struct {
		ViewBox string `xml:"viewBox,attr"`
		Paths   []struct {
			D string `xml:"d,attr"`
		} `xml:"path"`
	}
	if err := xml.Unmarshal([]byte(picture), &svg); err != nil || len(svg.Paths) != 2 {
		t.Fatalf("no picture: %v\n%.200s", err, picture)
	}
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	const scale = 4
	side := number(strings.Fields(svg.ViewBox)[2])
	canvas := image.NewGray(image.Rect(0, 0, side*scale, side*scale))
	for i := range canvas.Pix {
		canvas.Pix[i] = 0xff
	}
	for _, m := range regexp.MustCompile(`M(\d+) (\d+)h(\d+)v1h-(\d+)z`).FindAllStringSubmatch(svg.Paths[1].D, -1) {
		for x := number(m[1]) * scale; x < (number(m[1])+number(m[3]))*scale; x++ {
			for y := number(m[2]) * scale; y < (number(m[2])+1)*scale; y++ {
				canvas.SetGray(x, y, color.Gray{})
			}
		}
	}
	bitmap, err := gozxing.NewBinaryBitmapFromImage(canvas)
	if err != nil {
		t.Fatal(err)
	}
	code, err := qrcode.NewQRCodeReader().Decode(bitmap, nil)
	if err != nil {
		t.Fatal(err)
	}
	return code.GetText()
}

func TestTheCodeLeadsToThePortal(t *testing.T) {
	for _, c := range []struct {
		rule, device, url, host, local string
		want                           string // "" is none
	}{
		{"the configured address", "dev_1", "https://print.example.co.jp/", "evil.example", "10.1.0.2:8443", "https://print.example.co.jp/register?device=dev_1"},
		{"an id of any form", "dev/1 &?#", "https://print.example.co.jp", "evil.example", "10.1.0.2:8443", "https://print.example.co.jp/register?device=dev%2F1+%26%3F%23"},
		{"a name of the certificate, at the port where the portal listens", "dev_1", "", "gate.example.co.jp:8443", "10.1.0.2:8443", "https://gate.example.co.jp:8443/register?device=dev_1"},
		{"whatever the header says of the port", "dev_1", "", "gate.example.co.jp:6666", "10.1.0.2:8443", "https://gate.example.co.jp:8443/register?device=dev_1"},
		{"the usual port is not written", "dev_1", "", "gate.example.co.jp", "10.1.0.2:443", "https://gate.example.co.jp/register?device=dev_1"},
		{"an address of the certificate", "dev_1", "", "[2001:db8::2]:8443", "[2001:db8::2]:8443", "https://[2001:db8::2]:8443/register?device=dev_1"},
		{"another host is not printed", "dev_1", "", "evil.example", "10.1.0.2:8443", ""},
		{"nor one behind a user name", "dev_1", "", "gate.example.co.jp@evil.example", "10.1.0.2:8443", ""},
		{"nor what only a wildcard stands for", "dev_1", "", "evil.wild.example.co.jp", "10.1.0.2:8443", ""},
		{"nor the wildcard", "dev_1", "", "*.wild.example.co.jp", "10.1.0.2:8443", ""},
		{"nor this machine's name for itself", "dev_1", "", "localhost:8443", "127.0.0.1:8443", ""},
		{"nor its address for itself", "dev_1", "", "127.0.0.1:8443", "127.0.0.1:8443", ""},
	} {
		g := portaltest.Registering()
		g.DevicesAre = append(g.DevicesAre, mfpgate.Device{ID: "dev/1 &?#", Name: "odd"})
		d := newDoor(t, g)
		certificate, err := portal.OpenCertificate(portal.CertificateOptions{Dir: t.TempDir(), Clock: d.clock, Log: d.portal.Log,
			Names: []string{"gate.example.co.jp", "2001:db8::2", "localhost", "127.0.0.1", "*.wild.example.co.jp"}})
		if err != nil {
			t.Fatal(err)
		}
		d.portal.URL, d.portal.Certified = func() string { return c.url }, certificate.Certifies
		d.enter()
		get := func(tail string) (int, string) {
			local, err := net.ResolveTCPAddr("tcp", c.local)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequestWithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(local)), "GET",
				"/devices/"+strings.NewReplacer("/", "%2F", " ", "%20", "?", "%3F", "#", "%23").Replace(c.device)+tail, nil)
			r.Host = c.host
			r.AddCookie(d.cookie)
			w := httptest.NewRecorder()
			d.portal.ServeHTTP(w, r)
			return w.Code, w.Body.String()
		}
		status, sheet := get("/sheet")
		if got := strings.Contains(sheet, "Scan to add this printer"); status != 200 || got != (c.want != "") {
			t.Errorf("%s: the sheet is %d, with a code: %v", c.rule, status, got)
		}
		status, picture := get("/qr.svg")
		switch {
		case c.want == "":
			if status != http.StatusConflict || !strings.Contains(picture, "portal.url") || !strings.Contains(sheet, "portal.url") || strings.Contains(sheet, "evil") {
				t.Errorf("%s: %d\n%s", c.rule, status, picture)
			}
		case status != 200:
			t.Errorf("%s: %d", c.rule, status)
		default:
			if got := readCode(t, picture); got != c.want {
				t.Errorf("%s: the code reads %q, want %q", c.rule, got, c.want)
			}
		}
	}
	d := newDoor(t, portaltest.Registering())
	d.portal.URL = func() string { return "https://gate.example" }
	d.enter()
	golden(t, "sheet.html", d.page("/devices/dev_1/sheet"))
}

func TestWhoScansTheCodeComesToTheFormAfterTheLogin(t *testing.T) {
	d := newDoor(t, portaltest.Registering())
	const scanned = "/register?device=dev_2"
	to := d.ask("GET", scanned, "").Header.Get("Location")
	if page := d.page(to); !strings.Contains(page, `name="next" value="`+scanned+`"`) {
		t.Fatalf("the login does not lead back:\n%s", page)
	}
	resp := d.ask("POST", "/login", "name=sato&password=correct+horse+battery&next=%2Fregister%3Fdevice%3Ddev_2")
	if to := resp.Header.Get("Location"); to != scanned {
		t.Fatalf("it leads to %s", to)
	}
	if page := d.page(scanned); !strings.Contains(page, "3F design room") || !strings.Contains(page, "Ask for it") {
		t.Error("the form is not that printer's")
	}
}
