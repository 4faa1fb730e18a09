package peer_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
	"github.com/mfpgate/mfpgate/cloud/client"
	"github.com/mfpgate/mfpgate/cloud/client/peer"
)

func TestEachCallGoesToItsRoleWithItsCredential(t *testing.T) {
	r := newRegion(t)
	ctx := t.Context()
	holding := mfpgate.Holding{MFP: mfp, Region: "jp", State: mfpgate.HoldingActive, Epoch: 1, Digest: digest}
	registrant := mfpgate.Registrant{MFP: mfp, Model: "SIM-100", Serial: "1/2 3", Region: "jp", State: mfpgate.HoldingActive}
	offers := []mfpgate.ServiceOffer{{ID: "document-cloud", Children: []string{"translate"}}}
	done := mfpgate.MoveAnswer{State: mfpgate.HoldingDraining, Digest: digest, Seen: mfpgate.Seen{"jp/services": 7}}
	data := mfpgate.MoveAnswer{State: mfpgate.HoldingActive, Management: json.RawMessage(`{"a":1}`)}
	r.answers = map[string]answer{
		"GET /svc/v1/rollout?country=de":                        {value: api.Rollout{Country: "de", Items: offers}},
		"GET /svc/v1/registrations/mfp-50":                      {value: holding},
		"POST /svc/v1/registrations":                            {status: 201, value: holding},
		"POST /svc/v1/registrations/mfp-50:drain":               {value: done},
		"PUT /svc/v1/registrations/mfp-50":                      {value: done},
		"GET /mgmt/v1/registrants?model=SIM-100&serial=1%2F2+3": {value: registrant},
		"POST /mgmt/v1/orders":                                  {value: data},
	}
	p := r.open(nil)
	check := func(what string, got, want any, err error) {
		t.Helper()
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v; %s", what, err, diff)
		}
	}
	gotOffers, err := p.Services().Offers(ctx, "de")
	check("offers", gotOffers, offers, err)
	gotHolding, err := p.Services().Holding(ctx, mfp)
	check("holding", gotHolding, holding, err)
	gotHolding, err = p.Services().Register(ctx, api.ServiceRegistration{MFP: mfp, Registration: "r1.jp.1.x.y", Epoch: 1})
	check("register", gotHolding, holding, err)
	gotAnswer, err := p.Services().Order(ctx, order(mfpgate.StepDrain))
	check("order", gotAnswer, done, err)
	transfer := mfpgate.HoldingTransfer{Order: order(mfpgate.StepCopy), Items: []mfpgate.HeldItem{{Class: "jobs", Name: "a", Value: []byte{0, 255}}}, Digest: digest}
	gotAnswer, err = p.Services().Send(ctx, transfer)
	check("transfer", gotAnswer, done, err)
	gotRegistrant, err := p.Management().Find(ctx, "SIM-100", "1/2 3")
	check("registrant", gotRegistrant, registrant, err)
	gotAnswer, err = p.Management().Order(ctx, order(mfpgate.StepCopy))
	check("management", gotAnswer, data, err)
	want := []string{
		"services: GET /svc/v1/rollout?country=de as us.management",
		"services: GET /svc/v1/registrations/mfp-50 as us.management",
		"services: POST /svc/v1/registrations as us.management",
		"services: POST /svc/v1/registrations/mfp-50:drain as us.management",
		"services: PUT /svc/v1/registrations/mfp-50 as us.services",
		"management: GET /mgmt/v1/registrants?model=SIM-100&serial=1%2F2+3 as us.management",
		"management: POST /mgmt/v1/orders as us.management",
	}
	if diff := cmp.Diff(want, r.asked); diff != "" {
		t.Error(diff)
	}
	var sent mfpgate.HoldingTransfer
	must(t, json.Unmarshal([]byte(r.sent["PUT /svc/v1/registrations/mfp-50"]), &sent))
	if diff := cmp.Diff(transfer, sent); diff != "" {
		t.Error(diff)
	}
}

func TestAnswersOfOtherQuestionsAreRefused(t *testing.T) {
	r := newRegion(t)
	const (
		drain = "POST /svc/v1/registrations/mfp-50:retire"
		held  = "GET /svc/v1/registrations/mfp-50"
		found = "GET /mgmt/v1/registrants?model=SIM-100&serial=1"
	)
	good := mfpgate.Holding{MFP: mfp, Region: "jp", State: mfpgate.HoldingActive}
	with := func(change func(*mfpgate.Holding)) mfpgate.Holding { h := good; change(&h); return h }
	_, other, err := ed25519.GenerateKey(nil)
	must(t, err)
	forged := r.receipt(nil)
	forged.Signed, err = jws.Sign(other, api.PurposeReceipt, forged)
	must(t, err)
	changed := r.receipt(nil)
	changed.Left = []mfpgate.HeldData{{Class: "audit", Items: 1}}
	for _, c := range []struct {
		rule, what string
		value      any
		says       string
	}{
		{"a holding of another device", held, with(func(h *mfpgate.Holding) { h.MFP = "mfp-51" }), `of device "mfp-51"`},
		{"a holding of another region", held, with(func(h *mfpgate.Holding) { h.Region = "us" }), `of region "us"`},
		{"a state that there is not", held, with(func(h *mfpgate.Holding) { h.State = "fine" }), `state "fine"`},
		{"a digest that is none", held, with(func(h *mfpgate.Holding) { h.Digest = "abc" }), `digest "abc"`},
		{"a receipt of another region", drain, mfpgate.MoveAnswer{Receipt: r.receipt(func(d *mfpgate.DeletionReceipt) { d.Region = "us" })}, `region "us"`},
		{"a receipt of another move", drain, mfpgate.MoveAnswer{Receipt: r.receipt(func(d *mfpgate.DeletionReceipt) { d.Move = "mov_2" })}, `"mov_2"`},
		{"a receipt of another device", drain, mfpgate.MoveAnswer{Receipt: r.receipt(func(d *mfpgate.DeletionReceipt) { d.MFP = "mfp-51" })}, `"mfp-51"`},
		{"a receipt that another key signed", drain, mfpgate.MoveAnswer{Receipt: forged}, "its receipt: not signed by a key"},
		{"a receipt that says more than is signed", drain, mfpgate.MoveAnswer{Receipt: changed}, "does not say what is signed"},
		{"a device of another serial number", found, mfpgate.Registrant{MFP: mfp, Model: "SIM-100", Serial: "2", Region: "jp"}, `"2", not "SIM-100" "1"`},
		{"a device whose name is a path", found, mfpgate.Registrant{MFP: "../x", Model: "SIM-100", Serial: "1", Region: "jp"}, "names no device"},
		{"a device in no region", found, mfpgate.Registrant{MFP: mfp, Model: "SIM-100", Serial: "1"}, `region ""`},
		{"a roll-out of another country", "GET /svc/v1/rollout?country=de", api.Rollout{Country: "fr"}, `country "fr"`},
		{"a service without a name", "GET /svc/v1/rollout?country=de", api.Rollout{Country: "de", Items: []mfpgate.ServiceOffer{{}}}, "without a name"},
	} {
		r.answers = map[string]answer{c.what: {value: c.value}}
		err := r.ask(c.what)
		var why mfpgate.Refused
		if !errors.Is(err, client.ErrAnswer) || !errors.Is(err, mfpgate.ErrRefused) || !errors.As(err, &why) || why.Why() != peer.Confused || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want ErrAnswer with %q", c.rule, err, c.says)
		}
	}
	r.answers = map[string]answer{drain: {value: mfpgate.MoveAnswer{State: mfpgate.HoldingMoved, Receipt: r.receipt(nil)}}}
	if err := r.ask(drain); err != nil {
		t.Errorf("a good receipt: %v", err)
	}
}

// ask makes the call that belongs to a path.
func (r *region) ask(what string) (err error) {
	p := r.open(nil)
	switch {
	case strings.Contains(what, "rollout"):
		_, err = p.Services().Offers(r.Context(), "de")
	case strings.Contains(what, "registrants"):
		_, err = p.Management().Find(r.Context(), "SIM-100", "1")
	case strings.HasPrefix(what, "POST"):
		_, err = p.Services().Order(r.Context(), order(mfpgate.StepRetire))
	default:
		_, err = p.Services().Holding(r.Context(), mfp)
	}
	return err
}

func TestRefusalsSayWhatComesOfAnotherTry(t *testing.T) {
	r := newRegion(t)
	const held = "GET /svc/v1/registrations/mfp-50"
	for _, c := range []struct {
		rule    string
		answer  answer
		reason  mfpgate.Reason
		again   bool // another try is worth it
		mention string
	}{
		{"an old order", refusal(409, api.Fenced, "seq 3 after 5"), api.Fenced, false, "seq 3 after 5"},
		{"an order out of turn", refusal(409, api.OutOfTurn, ""), api.OutOfTurn, false, "409"},
		{"a device that it does not have", refusal(404, api.NotRegistered, ""), api.NotRegistered, false, "404"},
		{"a credential that is none", refusal(401, "token-refused", ""), "token-refused", true, "mfpcloud peer invite"},
		{"a credential of another role", refusal(403, "role", ""), "role", true, "mfpcloud peer invite"},
		{"a server that drains", answer{status: 503, header: http.Header{"Retry-After": {"7"}}}, "", true, "503"},
		{"too many calls", refusal(429, "", ""), "", true, "429"},
		{"a redirect", answer{status: 307, header: http.Header{"Location": {r.management.URL}}}, "", true, "redirect"},
		{"an endless answer", answer{value: strings.Repeat("x", 257<<10)}, "", true, "longer than 262144 bytes"},
		{"a long detail", refusal(409, api.OutOfTurn, strings.Repeat("é", 5000)), api.OutOfTurn, false, "é…"},
	} {
		r.answers = map[string]answer{held: c.answer}
		err := r.ask(held)
		var refused *client.Error
		reason := mfpgate.Reason("")
		if errors.As(err, &refused) {
			reason = refused.Reason()
		}
		if err == nil || errors.Is(err, mfpgate.ErrRefused) == c.again || reason != c.reason || !strings.Contains(err.Error(), c.mention) || len(err.Error()) > 1500 {
			t.Errorf("%s: got %v (%q, refused %v)", c.rule, err, reason, errors.Is(err, mfpgate.ErrRefused))
		}
		if strings.HasPrefix(c.rule, "a credential") != errors.Is(err, peer.ErrCredential) {
			t.Errorf("%s: ErrCredential is %v", c.rule, errors.Is(err, peer.ErrCredential))
		}
		if c.rule == "a server that drains" && mfpgate.RetryDelay(err) != 7*time.Second {
			t.Errorf("%s: asks for %s", c.rule, mfpgate.RetryDelay(err))
		}
	}
	r.services.Close()
	if err := r.ask(held); err == nil || errors.Is(err, mfpgate.ErrRefused) {
		t.Errorf("nobody answers: %v", err)
	}
}

func TestNamesThatAreNoneAreNotSent(t *testing.T) {
	r := newRegion(t)
	p := r.open(nil)
	for _, name := range []string{"", "..", "a/b", "a?b", "a:abort", "a b", strings.Repeat("a", 129)} {
		if _, err := p.Services().Holding(t.Context(), name); !errors.Is(err, mfpgate.ErrRefused) {
			t.Errorf("%q: %v", name, err)
		}
	}
	bad := order("explode")
	if _, err := p.Services().Order(t.Context(), bad); !errors.Is(err, mfpgate.ErrRefused) {
		t.Errorf("a step that there is not: %v", err)
	}
	if len(r.asked) > 0 {
		t.Errorf("asked %v", r.asked)
	}
}

func TestServicesAreFoundInTheSignedDocument(t *testing.T) {
	r := newRegion(t)
	r.answers["GET /svc/v1/registrations/mfp-50"] = answer{value: mfpgate.Holding{MFP: mfp, Region: "jp"}}
	p := r.open(func(o *peer.Options) { o.ServicesURL = "" })
	hold := func() error { _, err := p.Services().Holding(t.Context(), mfp); return err }
	if err := hold(); err == nil {
		t.Error("no document: went well")
	}
	host := strings.TrimPrefix(r.services.URL, "http://")
	us, jp := mfpgate.RegionHosts{Region: "us", Services: []string{"127.0.0.1:1"}}, mfpgate.RegionHosts{Region: "jp", Services: []string{host}}
	r.publishes(us)
	if err := hold(); !errors.Is(err, client.ErrAnswer) {
		t.Errorf("a document without the region: %v", err)
	}
	r.publishes(us, jp)
	for range 2 {
		if err := hold(); err != nil {
			t.Error(err)
		}
	}
	want := []string{"management: GET /v1/regions as ", "services: GET /svc/v1/registrations/mfp-50 as us.management", "services: GET /svc/v1/registrations/mfp-50 as us.management"}
	if diff := cmp.Diff(want, r.asked[2:]); diff != "" {
		t.Error(diff)
	}

	gone := r.services
	second := newRegion(t)
	second.answers = r.answers
	r.publishes(mfpgate.RegionHosts{Region: "jp", Services: []string{strings.TrimPrefix(second.services.URL, "http://")}})
	gone.Close()
	if err := hold(); err == nil {
		t.Error("services that are gone: went well")
	}
	if err := hold(); err != nil {
		t.Errorf("services that moved: %v", err)
	}
}

func TestHostsMustBeSignedByTheRegion(t *testing.T) {
	r := newRegion(t)
	jp := mfpgate.RegionHosts{Region: "jp", Management: []string{"m.jp.example:443"}, Services: []string{"s.jp.example"}}
	r.publishes(jp)
	got, err := r.open(nil).Hosts(t.Context())
	if diff := cmp.Diff([]mfpgate.RegionHosts{jp}, got); err != nil || diff != "" {
		t.Errorf("%v; %s", err, diff)
	}
	doc := r.answers["GET /v1/regions"].value.(api.SignedRegions)
	doc.Items[0].Region = "xx"
	r.answers["GET /v1/regions"] = answer{value: doc}
	if got, err := r.open(nil).Hosts(t.Context()); err != nil || got[0].Region != "jp" {
		t.Errorf("what is not signed counted: %v, %v", got, err)
	}
	_, r.key, err = ed25519.GenerateKey(nil)
	must(t, err)
	if _, err := r.open(nil).Hosts(t.Context()); !errors.Is(err, client.ErrAnswer) {
		t.Errorf("another key: %v", err)
	}
}

func TestWhatCannotBeMeantDoesNotOpen(t *testing.T) {
	r := newRegion(t)
	good := peer.Options{Region: "jp", ManagementURL: "https://m.jp.example", ServicesURL: "https://s.jp.example", Clock: r.clock}
	for rule, change := range map[string]func(*peer.Options){
		"no region":                  func(o *peer.Options) { o.Region = "" },
		"no url":                     func(o *peer.Options) { o.ManagementURL = "" },
		"a token in the clear":       func(o *peer.Options) { o.ServicesURL = "http://s.jp.example" },
		"a path":                     func(o *peer.Options) { o.ManagementURL = "https://m.jp.example/x" },
		"services that nobody names": func(o *peer.Options) { o.ServicesURL = "" },
	} {
		o := good
		change(&o)
		if _, err := peer.Open(o); err == nil {
			t.Errorf("%s: opened", rule)
		}
	}
	if _, err := peer.Open(good); err != nil {
		t.Error(err)
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"mfp":"mfp-50","region":"jp","state":"active","receipt":{"region":"jp","mfp":"mfp-50","signed":"a.b.c"}}`))
	f.Add([]byte(`{"state":"moved","digest":"00"}`))
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	f.Cleanup(s.Close)
	public, _, _ := ed25519.GenerateKey(nil)
	p, err := peer.Open(peer.Options{Region: "jp", ManagementURL: s.URL, ServicesURL: s.URL, Keys: []ed25519.PublicKey{public}, Clock: mfpgate.SystemClock{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		body = data
		if h, err := p.Services().Holding(t.Context(), mfp); err == nil && (h.MFP != mfp || h.Region != "jp" || h.Receipt != nil) {
			t.Fatalf("took %+v", h)
		}
		if a, err := p.Services().Order(t.Context(), order(mfpgate.StepRetire)); err == nil && a.Receipt != nil {
			t.Fatalf("took %+v", a)
		}
		_, _ = p.Hosts(t.Context())
	})
}
