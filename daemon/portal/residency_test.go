package portal_test

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
)

// residentRow is the row of a device, without its markup's line breaks.
func residentRow(page, id string) string {
	for _, row := range strings.Split(page, "\n") {
		if strings.HasPrefix(row, `<tr role="row"><th role="rowheader" scope="row"><a href="/devices/`+id+`">`) {
			return row
		}
	}
	return ""
}

func TestTheResidencySaysWhatIsKnown(t *testing.T) {
	page := moving(t).page("/residency")
	for _, c := range []struct {
		rule, id string
		has, not []string
	}{
		{"a device at home", "dev_1", []string{"At home here", "<strong>JP</strong>", "since <time", "document-cloud with translate, whiteboard", "Nothing enforced"}, []string{"> Enforced", "Left behind", "Plan a move"}},
		{"one that has moved here", "dev_2", []string{"> Enforced", "Left behind: billing in US", `href="/residency/dev_2/receipts/rcp_done"`, "purged <time", "address-book: 412 items, 1.2 MB", `href="/moves/mov_done"`}, nil},
		{"one registered here under a foreign id", "dev_4", []string{"Registered here, its data in another region", "<strong>DE</strong>", `href="/moves/new?device=dev_4"`}, []string{"Left behind", "> Enforced"}},
		{"one that goes past the relay", "dev_7", []string{"Not enforced", "Its connections do not come through the relay"}, []string{"> Enforced"}},
		{"one that no region knows", "dev_6", []string{"Not known", "set its market on its page", "none is known"}, []string{"> Enforced"}},
		{"an enforcement that is none of ours", "dev_3", []string{"Not known: &lt;script&gt;", "since when is not known"}, []string{"> Enforced"}},
		{"one that no region told of", "dev_g00007", []string{"Not known", "No region has told the gateway of this device."}, []string{"> Enforced"}},
	} {
		row := residentRow(page, c.id)
		for _, want := range c.has {
			if !strings.Contains(row, want) {
				t.Errorf("%s: %q is not in\n%s", c.rule, want, row)
			}
		}
		for _, never := range c.not {
			if strings.Contains(row, never) {
				t.Errorf("%s: %q is in\n%s", c.rule, never, row)
			}
		}
	}
	if !strings.Contains(page, "mfpgate audit verify") || !strings.Contains(page, "2026-03-03 14:32") {
		t.Error("the page does not say how to check it, or of which day it is")
	}
}

func TestWhatAReceiptLeavesIsNamed(t *testing.T) {
	d := moving(t)
	of := &d.gateway.ResidencesAre[1]
	of.Data = of.Data[:1] // the region does not list any more what it has left
	if row := residentRow(d.page("/residency"), "dev_2"); !strings.Contains(row, "Left behind: billing in US") {
		t.Errorf("it is not in\n%s", row)
	}
}

func TestTheReceiptsFileIsItsSignature(t *testing.T) {
	d := moving(t)
	for _, path := range []string{"/residency/dev_2/receipts/rcp_done", "/moves/mov_done/receipt"} {
		resp := d.ask("GET", path, "")
		if body := text(t, resp); resp.StatusCode != 200 || body != d.gateway.ResidencesAre[1].Receipts[0].Signed || resp.Header.Get("Content-Type") != "application/jose" ||
			resp.Header.Get("Content-Disposition") != `attachment; filename="receipt-rcp_done.jws"` {
			t.Errorf("%s: %s, %v\n%s", path, resp.Status, resp.Header, body)
		}
	}
	for _, path := range []string{"/residency/dev_1/receipts/rcp_done", "/residency/dev_2/receipts/rcp_other", "/moves/mov_copy/receipt", "/moves/mov_none/receipt"} {
		if resp := d.ask("GET", path, ""); resp.StatusCode != 404 {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	hostile := d.ask("GET", "/residency/dev_3/receipts/"+url.PathEscape(portaltest.Hostile), "")
	if got := hostile.Header.Get("Content-Disposition"); hostile.StatusCode != 200 || strings.ContainsAny(got, "<>'&`/") || strings.Count(got, `"`) != 2 {
		t.Errorf("a hostile id: %s, %s", hostile.Status, got)
	}
}

func TestTheResidencysFiles(t *testing.T) {
	d := moving(t)
	d.gateway.ResidencesAre[0].Name, d.gateway.ResidencesAre[0].Detail = "=1+1", "@SUM(A1)"
	var file struct {
		Site, Region, HowToCheck string
		Residences               []mfpgate.Residence
	}
	if err := json.Unmarshal([]byte(d.page("/residency.json")), &file); err != nil {
		t.Fatal(err)
	}
	if file.Region != "jp" || len(file.Residences) != 24 || !strings.Contains(file.HowToCheck, "mfpgate audit verify") {
		t.Errorf("%s, %d residences, %q", file.Region, len(file.Residences), file.HowToCheck)
	}
	byID := map[mfpgate.DeviceID]mfpgate.Residence{}
	for _, of := range file.Residences {
		byID[of.Device] = of
	}
	if diff := cmp.Diff(d.gateway.ResidencesAre[1], byID["dev_2"]); diff != "" {
		t.Errorf("a residence in JSON (-want +got):\n%s", diff)
	}
	if of := byID["dev_g00007"]; of.State != mfpgate.ResidenceUnknown || of.Enforcement == mfpgate.Enforced {
		t.Errorf("what no region told of is %+v", of)
	}

	body := d.page("/residency.csv")
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(body, "\ufeff"))).ReadAll()
	if err != nil || !strings.HasPrefix(body, "\ufeff") {
		t.Fatal(err)
	}
	head, records := map[string]int{}, map[string]int{}
	for i, name := range rows[0] {
		head[name] = i
	}
	for _, row := range rows[1:] {
		for _, cell := range row {
			if strings.IndexAny(cell, "=+-@\t") == 0 {
				t.Errorf("a spreadsheet runs %q", cell)
			}
		}
		records[row[head["deviceId"]]+" "+row[head["record"]]]++
		if row[head["record"]] == "receipt" && row[head["deviceId"]] == "dev_2" && row[head["signed"]] != d.gateway.ResidencesAre[1].Receipts[0].Signed {
			t.Errorf("the receipt's signature is %q", row[head["signed"]])
		}
	}
	for record, want := range map[string]int{"dev_1 residence": 1, "dev_2 residence": 1, "dev_2 service": 2, "dev_2 data": 3, "dev_2 receipt": 1, "dev_2 purged": 2, "dev_2 left": 1, "dev_g00007 residence": 1} {
		if records[record] != want {
			t.Errorf("%d records %s, want %d", records[record], record, want)
		}
	}
	if got := d.page("/residency.csv?q=dev_2"); !strings.Contains(got, "rcp_done") || strings.Contains(got, "dev_1,") {
		t.Errorf("what is searched for:\n%s", got)
	}
}

func TestWhatCannotBeAskedIsSaid(t *testing.T) {
	d := moving(t)
	d.gateway.ResidencesFail = fmt.Errorf("%w: the cloud of region jp does not answer; look at its state on the overview", control.ErrMove)
	for _, path := range []string{"/residency", "/moves", "/devices/dev_2"} {
		if page := d.page(path); !strings.Contains(page, "The cloud of region jp does not answer") || strings.Contains(page, "Enforced<") {
			t.Errorf("%s does not say it", path)
		}
	}
	for _, path := range []string{"/residency.json", "/residency.csv"} {
		if resp := d.ask("GET", path, ""); resp.StatusCode != 503 {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	d.gateway.ResidencesFail = errors.New("disk on fire")
	for path, want := range map[string]int{"/residency": 500, "/moves": 500, "/residency.csv": 500, "/devices/dev_2": 200, "/register?device=dev_5": 200} {
		if resp := d.ask("GET", path, ""); resp.StatusCode != want || strings.Contains(text(t, resp), "on fire") {
			t.Errorf("%s: %s, want %d", path, resp.Status, want)
		}
	}
}

func TestALargeFleetsResidency(t *testing.T) {
	d := newDoor(t, portaltest.Fleet(2043))
	d.enter()
	for path, want := range map[string]int{"/residency": 100, "/residency?page=21": 43, "/residency?page=all": 2043, "/residency?page=all&q=branch+dev_g00007": 1} {
		if got := strings.Count(d.page(path), `<tr role="row"><th role="rowheader"`); got != want {
			t.Errorf("%s has %d devices, want %d", path, got, want)
		}
	}
}

func TestWhereADeviceOfAnotherMarketIsAskedFor(t *testing.T) {
	for _, c := range []struct {
		rule, who, device string
		has, not          []string
	}{
		{"an administrator is offered the move", "mori", "dev_4", []string{"was built for region DE", "under its id of DE", "Its data stay in DE unless it is moved", "/moves/new?device=dev_4"}, nil},
		{"a user is told who can", "sato", "dev_4", []string{"was built for region DE", "Its data stay in DE unless it is moved", "an administrator can move it"}, []string{"/moves/"}},
		{"a device of this market", "mori", "dev_1", nil, []string{"was built for"}},
		{"one that has moved here", "mori", "dev_2", nil, []string{"was built for"}},
		{"one whose market is not known", "mori", "dev_6", nil, []string{"was built for"}},
	} {
		d := newDoor(t, portaltest.Moving())
		d.enterAs(c.who)
		page := d.page("/register?device=" + c.device)
		for _, want := range c.has {
			if !strings.Contains(page, want) {
				t.Errorf("%s: the page does not say %q", c.rule, want)
			}
		}
		for _, never := range c.not {
			if strings.Contains(page, never) {
				t.Errorf("%s: the page says %q", c.rule, never)
			}
		}
	}
}
