package endpoint_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/usb/endpoint"
	"github.com/mfpgate/mfpgate/usb/endpoint/dnssd"
)

func publication(t *testing.T, about endpoint.About) dnssd.Publication {
	t.Helper()
	published := &publisher{}
	e := newEndpoints(t, func(o *endpoint.Options) { o.Share, o.Publisher = endpoint.LAN, published })
	p, err := e.Serve(t.Context(), "1209:0001:RIG1", broken, about)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, p) })
	all := published.published()
	if len(all) != 1 {
		t.Fatalf("%d are published", len(all))
	}
	return all[0]
}

func TestWhatIsPublished(t *testing.T) {
	type service struct {
		Type     string
		Subtypes []string
		Port     bool
		Texts    []string
	}
	of := func(p dnssd.Publication) (out []service) {
		for _, s := range p.Services {
			one := service{Type: s.Type, Subtypes: s.Subtypes, Port: s.Port != 0}
			if s.Text != nil {
				for _, text := range s.Text("x.local") {
					one.Texts = append(one.Texts, strings.ReplaceAll(text, fmt.Sprint(p.Services[0].Port), "PORT"))
				}
			}
			out = append(out, one)
		}
		return out
	}
	for _, c := range []struct {
		rule  string
		about endpoint.About
		name  string
		want  []service
	}{
		{"of a printer that says nothing: that it prints", endpoint.About{}, "USB printer", []service{
			{"_ipp._tcp", []string{"_print"}, true, []string{"txtvers=1", "qtotal=1", "rp=ipp/print", "UUID=4c69c30b-14cc-5ef6-86c4-a535e481eed8",
				"adminurl=http://x.local:PORT/", "priority=40", "kind=document"}},
			{"_printer._tcp", nil, false, nil},
			{"_http._tcp", []string{"_printer"}, true, []string{"path=/"}},
		}},
		{"of one that says all: all", endpoint.About{Name: "Front desk", Make: "Rigworks", Model: "Composite 100", CommandSet: []string{"PCL", "PDF"},
			UUID: "urn:uuid:01234567-89AB-CDEF-0123-456789ABCDEF", Location: " Floor\n3 ", Resource: "/ipp/print/1", Formats: []string{"application/pdf", "image/pwg-raster"},
			URF: []string{"W8", "SRGB24"}, Kinds: []string{"document", "envelope"}, Color: endpoint.No, Duplex: endpoint.Yes, Admin: "/web/index.html",
			Scanner: &endpoint.Scanner{Version: "2.63", Formats: []string{"image/jpeg"}, Colors: []string{"color", "grayscale"}, Sources: []string{"platen", "adf"}, Duplex: endpoint.Yes}},
			"Front desk", []service{
				{"_ipp._tcp", []string{"_print", "_universal"}, true, []string{"txtvers=1", "qtotal=1", "rp=ipp/print/1", "ty=Rigworks Composite 100",
					"UUID=01234567-89ab-cdef-0123-456789abcdef", "pdl=application/pdf,image/pwg-raster", "URF=W8,SRGB24", "Color=F", "Duplex=T", "note=Floor\n3",
					"adminurl=http://x.local:PORT/web/index.html", "priority=40", "product=(Rigworks Composite 100)", "kind=document,envelope",
					"usb_MFG=Rigworks", "usb_MDL=Composite 100", "usb_CMD=PCL,PDF"}},
				{"_printer._tcp", nil, false, nil},
				{"_http._tcp", []string{"_printer"}, true, []string{"path=/web/index.html"}},
				{"_uscan._tcp", nil, true, []string{"txtvers=1", "vers=2.63", "rs=eSCL", "ty=Rigworks Composite 100", "uuid=01234567-89ab-cdef-0123-456789abcdef",
					"pdl=image/jpeg", "cs=color,grayscale", "is=platen,adf", "duplex=T", "note=Floor\n3", "adminurl=http://x.local:PORT/web/index.html"}},
			}},
	} {
		p := publication(t, c.about)
		if d := cmp.Diff(c.want, of(p)); d != "" || p.Name != c.name {
			t.Errorf("%s: %q %s", c.rule, p.Name, d)
		}
	}
}

// What a printer says may be long; what is published is not, and the needed stays.
func TestTextsHaveBounds(t *testing.T) {
	long := strings.Repeat("é", 400)
	var formats []string
	for i := range 200 {
		formats = append(formats, fmt.Sprintf("application/vnd.rigworks-%d", i))
	}
	p := publication(t, endpoint.About{Name: long, Make: long, Model: long, Location: long, CommandSet: formats, Formats: formats, URF: formats, Kinds: formats, Admin: long,
		Scanner: &endpoint.Scanner{Formats: formats, Version: long}})
	for _, s := range p.Services {
		if s.Text == nil {
			continue
		}
		all := s.Text("x.local")
		kept, size := dnssd.Texts(all), 0
		for _, pair := range kept {
			if size += len(pair) + 1; len(pair) > 255 {
				t.Errorf("%s: %d bytes: %q", s.Type, len(pair), pair)
			}
		}
		if size > 1300 {
			t.Errorf("%s: %d bytes", s.Type, size)
		}
		if s.Type == "_ipp._tcp" {
			for _, key := range []string{"txtvers=", "rp=", "ty=", "UUID=", "pdl=", "URF=", "note="} {
				if !slices.ContainsFunc(kept, func(pair string) bool { return strings.HasPrefix(pair, key) }) {
					t.Errorf("%s is left out", key)
				}
			}
		}
		if i := slices.IndexFunc(all, func(pair string) bool { return strings.HasPrefix(pair, "pdl=") }); i >= 0 && !slices.Contains(formats, all[i][strings.LastIndexByte(all[i], ',')+1:]) {
			t.Errorf("%s: half a format: %q", s.Type, all[i])
		}
	}
}
