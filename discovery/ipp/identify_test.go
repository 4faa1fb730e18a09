package ipp_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/OpenPrinting/goipp"
	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery/ipp"
)

func TestIdentify(t *testing.T) {
	state := enum("printer-state", 3)
	for _, tc := range []struct {
		rule  string
		attrs goipp.Attributes
		want  mfpgate.Sighting
	}{
		{
			"every attribute has its place",
			goipp.Attributes{
				state, strs("printer-uuid", goipp.TagURI, []string{"urn:uuid:" + strings.ToUpper(uuidA)}),
				text("printer-device-id", "MANUFACTURER:Canon;CMD:PDF;MODEL: iR-ADV C3530 ;SERN:ABC001;"),
				text("printer-make-and-model", "RICOH something else"), text("printer-dns-sd-name", "Copier 2F"),
				text("printer-name", "ipp-print"), text("printer-location", "Osaka 3F"),
				text("printer-firmware-name", "System", "Engine"), text("printer-firmware-string-version", "1.02", "7.3"),
			},
			mfpgate.Sighting{
				Identity: mfpgate.Identity{UUID: uuidA, Make: "Canon", Model: "iR-ADV C3530", Serial: "ABC001"},
				Name:     "Copier 2F", Location: "Osaka 3F", Firmware: "System 1.02, Engine 7.3",
			},
		},
		{
			"printer-serial-number goes before the device ID's, make and model fall back to the known makers",
			goipp.Attributes{
				state, text("printer-device-id", "SN:OTHER;mfg:;"), text("printer-serial-number", "SER1"),
				text("printer-make-and-model", "KONICA MINOLTA bizhub C360i"), text("printer-name", "bizhub"), text("printer-info", "x"),
			},
			mfpgate.Sighting{Identity: mfpgate.Identity{Make: "KONICA MINOLTA", Model: "bizhub C360i", Serial: "SER1"}, Name: "bizhub"},
		},
		{
			"of an unknown maker all is the model",
			goipp.Attributes{state, text("printer-make-and-model", "Color Laser 150"), text("printer-info", "hall")},
			mfpgate.Sighting{Identity: mfpgate.Identity{Model: "Color Laser 150"}, Name: "hall"},
		},
		{
			"a UUID that is nobody's or none is left out",
			goipp.Attributes{state, text("printer-uuid", "urn:uuid:00000000-0000-0000-0000-000000000000")},
			mfpgate.Sighting{},
		},
		{
			"a UUID of another shape is left out",
			goipp.Attributes{state, text("printer-uuid", "urn:uuid:601e73af-a38d-31ad-54d4-531e1106c61g")},
			mfpgate.Sighting{},
		},
		{
			"texts are one bounded line of UTF-8",
			goipp.Attributes{
				state, text("printer-name", "a\x1b[31m\nb\xff\u202e"+strings.Repeat("é", 400)),
				goipp.MakeAttribute("printer-location", goipp.TagTextLang, goipp.TextWithLang{Lang: "ja", Text: "大阪 3F"}),
			},
			mfpgate.Sighting{Name: "a [31m b\uFFFD" + strings.Repeat("é", 122), Location: "大阪 3F"},
		},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			endpoint := serve(t, "", &printer{t: t, attrs: tc.attrs}, false)
			client, sent := newClient(t)
			got, err := client.Identify(t.Context(), endpoint)
			if err != nil {
				t.Fatal(err)
			}
			tc.want.ID = mfpgate.SightingID("ipp:ipp://" + endpoint.Address.String() + "/ipp/print")
			tc.want.Endpoints, tc.want.Answered, tc.want.At = []mfpgate.Endpoint{endpoint}, true, got.At
			if diff := cmp.Diff(tc.want, got, addresses()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(got.Name) > 256 || sent.Load() != 1 {
				t.Errorf("name of %d bytes, %d requests", len(got.Name), sent.Load())
			}
		})
	}
}

func TestRequest(t *testing.T) {
	p := &printer{t: t, attrs: goipp.Attributes{enum("printer-state", 3)}}
	endpoint := serve(t, "", p, false)
	endpoint.Host, endpoint.Path = "copier.local", "//ipp/print%20er"
	client, _ := newClient(t)
	if _, err := client.Read(t.Context(), endpoint, mfpgate.PartStatus); err != nil {
		t.Fatal(err)
	}
	port := endpoint.Address.String()[len("127.0.0.1"):]
	var got []string
	for _, attr := range p.request.Operation {
		got = append(got, attr.Name+" "+attr.Values.String())
	}
	want := []string{
		"attributes-charset utf-8", "attributes-natural-language en", "printer-uri ipp://copier.local" + port + "/ipp/print%20er",
		"requesting-user-name mfpgate",
		"requested-attributes [printer-state,printer-state-reasons,printer-state-message,printer-alert-description]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("operation attributes (-want +got):\n%s", diff)
	}
	head := []string{p.head.Method, p.head.Host, p.head.URL.Path, p.head.Header.Get("Content-Type"), p.head.Header.Get("User-Agent"), p.head.Header.Get("Accept-Encoding")}
	if diff := cmp.Diff([]string{"POST", "copier.local" + port, "/ipp/print er", "application/ipp", "mfpgate", ""}, head); diff != "" {
		t.Errorf("HTTP (-want +got):\n%s", diff)
	}
	if !p.head.Close {
		t.Error("the connection stays open")
	}
}

func TestEndpoints(t *testing.T) {
	client, sent := newClient(t)
	attrs := goipp.Attributes{enum("printer-state", 3)}
	t.Run("IPv6", func(t *testing.T) {
		endpoint := serve(t, "[::1]:0", &printer{t: t, attrs: attrs}, false)
		s, err := client.Identify(t.Context(), endpoint)
		if want := mfpgate.SightingID("ipp:ipp://" + endpoint.Address.String() + "/ipp/print"); err != nil || s.ID != want {
			t.Errorf("%s, %v; want %s", s.ID, err, want)
		}
	})
	t.Run("a zone is in the id and not on the wire", func(t *testing.T) {
		p := &printer{t: t, attrs: attrs}
		endpoint := serve(t, "[::1]:0", p, false)
		port := endpoint.Address.Port()
		endpoint.Address = netip.AddrPortFrom(endpoint.Address.Addr().WithZone("lo"), port)
		s, err := client.Identify(t.Context(), endpoint)
		if err != nil {
			t.Fatal(err)
		}
		got := []string{string(s.ID), p.head.Host, p.request.Operation[2].Values.String()}
		want := []string{fmt.Sprintf("ipp:ipp://[::1%%25lo]:%d/ipp/print", port), fmt.Sprintf("[::1]:%d", port), fmt.Sprintf("ipp://[::1]:%d/ipp/print", port)}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("a host that is no name is not used", func(t *testing.T) {
		p := &printer{t: t, attrs: attrs}
		endpoint := serve(t, "", p, false)
		endpoint.Host = "copier\r\nX-Evil: 1"
		if _, err := client.Identify(t.Context(), endpoint); err != nil || p.head.Host != endpoint.Address.String() {
			t.Errorf("%v, host %q", err, p.head.Host)
		}
	})
	for _, suite := range []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256} {
		t.Run("TLS with "+tls.CipherSuiteName(suite), func(t *testing.T) {
			config := &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10, CipherSuites: []uint16{suite}}
			if suite == tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 {
				config.MaxVersion = tls.VersionTLS12
			}
			if _, err := client.Identify(t.Context(), serveTLS(t, "", &printer{t: t, attrs: attrs}, config)); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("TLS with the printer's own certificate, of another name", func(t *testing.T) {
		endpoint := serve(t, "", &printer{t: t, attrs: attrs}, true)
		endpoint.Host = "copier.local"
		if _, err := client.Identify(t.Context(), endpoint); err != nil {
			t.Error(err)
		}
	})
	t.Run("TLS to a clear port", func(t *testing.T) {
		endpoint := serve(t, "", &printer{t: t, attrs: attrs}, false)
		endpoint.Protocol = mfpgate.ProtocolIPPS
		if _, err := client.Identify(t.Context(), endpoint); !errors.Is(err, ipp.ErrTLS) {
			t.Error(err)
		}
	})
	t.Run("what is no IPP endpoint is not asked", func(t *testing.T) {
		before := sent.Load()
		for _, e := range []mfpgate.Endpoint{
			{Protocol: mfpgate.ProtocolLPD, Address: netip.MustParseAddrPort("127.0.0.1:515")},
			{Protocol: mfpgate.ProtocolIPP, Address: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 0)},
			{Protocol: mfpgate.ProtocolIPP},
			{Protocol: mfpgate.ProtocolIPP, Address: netip.MustParseAddrPort("127.0.0.1:631"), Path: strings.Repeat("a", 500)},
		} {
			if _, err := client.Identify(t.Context(), e); err == nil {
				t.Errorf("%+v was asked", e)
			}
		}
		if sent.Load() != before {
			t.Errorf("%d requests", sent.Load()-before)
		}
	})
}

func TestDialects(t *testing.T) {
	attrs := goipp.Attributes{enum("printer-state", 4)}
	for _, tc := range []struct {
		rule    string
		printer printer
		want    []string // of two reads
	}{
		{"2.0 at once", printer{}, []string{"2.0 printer-state", "2.0 printer-state"}},
		{
			"1.0 only, and remembered",
			printer{newest: goipp.MakeVersion(1, 0)},
			[]string{"2.0 printer-state", "1.1 printer-state", "1.0 printer-state", "1.0 printer-state"},
		},
		{
			"1.1 only, says bad-request to others",
			printer{newest: goipp.MakeVersion(1, 1), badMajor: true},
			[]string{"2.0 printer-state", "1.1 printer-state", "1.1 printer-state"},
		},
		{
			"an empty group: asks for all of the description",
			printer{groupOnly: true},
			[]string{"2.0 printer-state", "2.0 printer-description", "2.0 printer-description"},
		},
		{
			"a group for 1.1 only",
			printer{newest: goipp.MakeVersion(1, 1), groupOnly: true},
			[]string{"2.0 printer-state", "1.1 printer-state", "1.1 printer-description", "1.1 printer-description"},
		},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			p := tc.printer
			p.t, p.attrs = t, attrs
			endpoint := serve(t, "", &p, false)
			client, _ := newClient(t)
			for range 2 {
				r, err := client.Read(t.Context(), endpoint, mfpgate.PartStatus)
				if err != nil || r.Status.State != mfpgate.PrinterProcessing {
					t.Fatalf("%+v, %v", r.Status, err)
				}
			}
			if diff := cmp.Diff(tc.want, p.asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStatuses(t *testing.T) {
	for status, want := range map[goipp.Status]error{
		goipp.StatusErrorNotFound:            ipp.ErrNotPrinter,
		goipp.StatusErrorForbidden:           ipp.ErrAuth,
		goipp.StatusErrorBusy:                ipp.ErrBusy,
		goipp.StatusErrorServiceUnavailable:  ipp.ErrBusy,
		goipp.StatusErrorBadRequest:          ipp.ErrRefused,
		goipp.StatusErrorVersionNotSupported: ipp.ErrRefused,
		goipp.StatusErrorAttributesOrValues:  ipp.ErrRefused,
		goipp.StatusOk:                       ipp.ErrNotPrinter, // and nothing in it
	} {
		p := &printer{t: t, status: status}
		client, sent := newClient(t)
		if _, err := client.Identify(t.Context(), serve(t, "", p, false)); !errors.Is(err, want) {
			t.Errorf("%s: %v; want %v", status, err, want)
		}
		if sent.Load() > 5 || client.DialectsForTest() != 0 {
			t.Errorf("%s: %d requests, %d dialects", status, sent.Load(), client.DialectsForTest())
		}
	}
}
