package portal_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"html/template"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
)

// overview is the page of a gateway, as text.
func overview(t *testing.T, change func(*portaltest.Gateway)) string {
	t.Helper()
	g := portaltest.Idle()
	change(g)
	d := newDoor(t, g)
	d.enter()
	resp := d.ask(http.MethodGet, "/", "")
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	return text(t, resp)
}

// reasonsIn are the constants of type Reason that Go files declare.
func reasonsIn(t *testing.T, pattern string) (found []mfpgate.Reason) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			of, typed := spec.Type.(*ast.SelectorExpr)
			value, literal := spec.Values[0].(*ast.BasicLit)
			if typed && of.Sel.Name == "Reason" && literal && value.Kind == token.STRING {
				reason, err := strconv.Unquote(value.Value)
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, mfpgate.Reason(reason))
			}
			return true
		})
	}
	if len(found) == 0 {
		t.Fatalf("%s declares no reasons; look where they are now", pattern)
	}
	return found
}

func TestEveryReasonOfTheRelayHasASentence(t *testing.T) {
	for _, file := range []string{"../../proxy/refusal.go", "../../proxy/slots/refused.go", "../../proxy/destination/reason.go"} {
		for _, reason := range reasonsIn(t, file) {
			page := overview(t, func(g *portaltest.Gateway) {
				g.RefusalsAre = []control.Refusal{{Time: portaltest.Now, Client: "10.0.0.1", Reason: reason}}
			})
			if strings.Contains(page, "Refused: "+string(reason)) || !strings.Contains(page, "<code>"+string(reason)+"</code>") {
				t.Errorf("%s: the page has no sentence for %s", file, reason)
			}
		}
	}
}

func TestEveryReasonOfADeviceHasASentence(t *testing.T) {
	for _, reason := range append(reasonsIn(t, "../../discovery/*.go"), reasonsIn(t, "../../usb/*.go")...) {
		page := overview(t, func(g *portaltest.Gateway) {
			g.DevicesAre = []mfpgate.Device{{ID: "dev_1", Name: "2F copier", State: mfpgate.DeviceOffline, Reason: reason}}
		})
		if text := control.DeviceReason(reason); text == string(reason) || !strings.Contains(page, template.HTMLEscapeString(text)) {
			t.Errorf("the page has no sentence for %s", reason)
		}
	}
}

func TestEveryDegradationHasATitle(t *testing.T) {
	for _, reason := range reasonsIn(t, "../*.go") {
		page := overview(t, func(g *portaltest.Gateway) {
			g.StatusIs.Degraded = []control.Degradation{{Reason: reason, Text: "what to do", Since: portaltest.Now}}
		})
		if !strings.Contains(page, "What to do.") || strings.Contains(page, "</span>"+string(reason)+"</h2>") {
			t.Errorf("the page has no title for %s", reason)
		}
	}
}

func TestTheStateIsInWords(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(*control.Status)
		want   string
	}{
		{"all is well", func(*control.Status) {}, "</span> Working</p>"},
		{"not ready comes before its reasons", func(s *control.Status) { s.Ready, s.Degraded = false, []control.Degradation{{Reason: "store-full"}} }, "Not ready: "},
		{"one problem", func(s *control.Status) { s.Degraded = []control.Degradation{{Reason: "store-full"}} }, "Working, with 1 problem<"},
		{"stopping is said first", func(s *control.Status) { s.Relay.Draining, s.Ready = true, false }, "Stopping: "},
		{"a capacity of none is no division by it", func(s *control.Status) { s.Relay.Capacity, s.Relay.Queued = 0, 2 }, "0 of 0 slots in use, 2 devices wait."},
		{"a capacity that just fell", func(s *control.Status) { s.Relay.Capacity, s.Relay.Served = 2, 5 }, "5 of 2 slots in use"},
	} {
		if page := overview(t, func(g *portaltest.Gateway) { c.change(&g.StatusIs) }); !strings.Contains(page, c.want) {
			t.Errorf("%s: the page does not say %q:\n%s", c.rule, c.want, page)
		}
	}
}

func TestLongListsAreCut(t *testing.T) {
	page := overview(t, func(g *portaltest.Gateway) {
		for i := range 700 {
			g.DevicesAre = append(g.DevicesAre, mfpgate.Device{ID: mfpgate.DeviceID(fmt.Sprint("dev_", i)), Name: fmt.Sprintf("device %04d", i)})
			g.TunnelsAre = append(g.TunnelsAre, control.Tunnel{Destination: "cloud.example:443"})
			g.SlotsAre = append(g.SlotsAre, control.Slot{State: "queued", Position: i + 1})
			g.RefusalsAre = append(g.RefusalsAre, control.Refusal{Reason: "loop"})
		}
	})
	for want, n := range map[string]int{"device 0": 50, "cloud.example:443": 200, `<li value=`: 200, "<code>loop</code>": 50} {
		if got := strings.Count(page, want); got != n {
			t.Errorf("%q stands %d times, want %d", want, got, n)
		}
	}
	for _, want := range []string{"and 500 more", `<a href="/devices">650 more</a>`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// lines are the chart's, by class.
func lines(page string) map[string]string {
	found := map[string]string{}
	chart := page[strings.Index(page, `<svg class="chart"`):]
	for _, m := range regexp.MustCompile(`<path class="(?:line )?(\w+)" d="([^"]+)"`).FindAllStringSubmatch(chart, -1) {
		found[m[1]] = m[2]
	}
	return found
}

func TestTheChartDrawsSteps(t *testing.T) {
	sample := func(ago time.Duration, served, queued int) control.Sample {
		return control.Sample{Time: portaltest.Now.Add(-ago), Served: served, Queued: queued, Capacity: 8}
	}
	for _, c := range []struct {
		rule    string
		samples []control.Sample
		want    string // the line of the served; plot units are 1000 for the hour and 100 for the scale of 8
	}{
		{"nothing recorded is no line", nil, ""},
		{"a value holds until the next", []control.Sample{sample(60*time.Second, 2, 0), sample(30*time.Second, 4, 0)}, "M983.3 75.0H991.7V50.0H1000.0"},
		{"no point where nothing changes", []control.Sample{sample(54*time.Second, 2, 0), sample(36*time.Second, 2, 0), sample(18*time.Second, 2, 0)}, "M985.0 75.0H1000.0"},
		{"a gap is left open", []control.Sample{sample(1800*time.Second, 4, 0), sample(1764*time.Second, 4, 0), sample(36*time.Second, 8, 0)},
			"M500.0 50.0H510.0M990.0 0.0H1000.0"},
		{"what was last known is not drawn on for ever", []control.Sample{sample(1800*time.Second, 4, 0), sample(1764*time.Second, 4, 0)}, "M500.0 50.0H510.0"},
		{"the hour's first value comes from before it", []control.Sample{sample(3605*time.Second, 4, 0), sample(3564*time.Second, 8, 0)}, "M0.0 50.0H10.0V0.0H10.0"},
		{"older ones are not shown", []control.Sample{sample(2*time.Hour, 4, 0)}, ""},
	} {
		page := overview(t, func(g *portaltest.Gateway) { g.HistoryIs = c.samples })
		if got := lines(page)["served"]; got != c.want {
			t.Errorf("%s: %q, want %q", c.rule, got, c.want)
		}
	}
}

func TestTheChartSaysWhatItShows(t *testing.T) {
	page := overview(t, func(g *portaltest.Gateway) { g.HistoryIs = portaltest.Busy().HistoryIs })
	for _, want := range []string{"Recorded from 13:32 to 14:32.", "Most served at once: 8, at 14:06.", "Most waiting at once: 5, at 14:31.",
		`<th scope="row">14:30–14:35</th><td class="number">8</td><td class="number">5</td><td class="number">8</td>`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q:\n%s", want, page[strings.Index(page, "<desc"):])
		}
	}
	if page := overview(t, func(*portaltest.Gateway) {}); !strings.Contains(page, "<desc id=\"chart-words\">Nothing was recorded in the last hour.</desc>") {
		t.Error("an empty chart says nothing")
	}
}
