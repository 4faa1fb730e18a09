package portal

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// residencyPage is what residency.html shows.
type residencyPage struct {
	frame
	Q        string
	Rows     []residenceRow
	Summary  string
	Of       moment // with its day: the page is printed
	Zone     string
	Region   string
	Pages    string
	Whole    string // address of all on one page, if there are more
	JSON     string
	CSV      string
	Prev     string
	Next     string
	Unasked  string // why nothing is known
	Searched bool
}

type residenceRow struct {
	Name, Href, MFP, Market, Home string
	HomeKnown                     bool
	State                         look
	Why                           string
	Since                         moment
	Registration                  string
	Services                      []string
	Regions                       []regionData
	LeftBehind                    []string
	Receipts                      []receiptRow
	Enforcement                   look
	Move, Plan                    string // addresses
}

// regionData is what one region holds.
type regionData struct {
	Region string
	Here   bool // it is the home
	Data   []string
}

// residences are one for each device that the gateway knows or has told of; of one that no region told of, that it is not known.
func (p *Portal) residences(ctx context.Context) ([]mfpgate.Residence, error) {
	told, err := p.Gateway.Residences(ctx)
	if err != nil {
		return nil, err
	}
	list, known := slices.Clone(told), map[mfpgate.DeviceID]bool{}
	for _, of := range told {
		known[of.Device] = true
	}
	names := map[mfpgate.DeviceID]string{}
	for _, d := range p.Gateway.Devices(ctx) {
		if names[d.ID] = deviceName(d); !known[d.ID] {
			list = append(list, mfpgate.Residence{Device: d.ID, Name: deviceName(d), Market: d.Market, State: mfpgate.ResidenceUnknown,
				Services: []mfpgate.HeldService{}, Data: []mfpgate.ResidentData{}, Receipts: []mfpgate.DeletionReceipt{},
				Detail: "no region has told the gateway of this device"})
		}
	}
	for i := range list {
		list[i].Name = cmp.Or(list[i].Name, names[list[i].Device])
	}
	slices.SortStableFunc(list, func(a, b mfpgate.Residence) int {
		return cmp.Or(compareText(residentName(a), residentName(b)), cmp.Compare(a.Device, b.Device))
	})
	return list, nil
}

func residentName(of mfpgate.Residence) string { return cmp.Or(of.Name, of.MFP, string(of.Device)) }

// residencesFound are those in whose name, id or regions every word of the search is.
func residencesFound(all []mfpgate.Residence, search string) (found []mfpgate.Residence) {
	words := strings.Fields(strings.ToLower(search))
	for _, of := range all {
		texts := strings.ToLower(strings.Join([]string{of.Name, of.MFP, string(of.Device), of.Home, of.Market, of.Registration, string(of.State)}, "\n"))
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(texts, word) }) {
			found = append(found, of)
		}
	}
	return found
}

func (p *Portal) residency(w http.ResponseWriter, r *http.Request) {
	q := queryOf(r)
	f := p.frame(r, "residency")
	page := residencyPage{frame: f, Q: q.Q, Searched: q.Q != "", Of: dated(f.now, f.zone), Zone: f.zone.String(), Region: regionName(p.Gateway.Status(r.Context()).Site.Region)}
	all, err := p.residences(r.Context())
	switch {
	case errors.Is(err, control.ErrMove):
		page.Unasked = moveRefused(err)
	case err != nil:
		p.failed(w, err)
		return
	}
	found := residencesFound(all, q.Q)
	page.Summary = residencySummary(len(all), found)
	page.JSON, page.CSV = query{Q: q.Q, Sort: "name", Page: 1}.address("/residency.json"), query{Q: q.Q, Sort: "name", Page: 1}.address("/residency.csv")
	shown, last := found, max((len(found)+pageRows-1)/pageRows, 1)
	if r.URL.Query().Get("page") != "all" {
		n := min(q.Page, last)
		shown = found[(n-1)*pageRows : min(n*pageRows, len(found))]
		at := func(n int) string { return query{Q: q.Q, Sort: "name", Page: n}.address("/residency") }
		if n > 1 {
			page.Prev = at(n - 1)
		}
		if n < last {
			page.Next = at(n + 1)
		}
		if last > 1 {
			page.Pages = "Page " + count(n) + " of " + count(last)
			page.Whole = "/residency?" + url.Values{"page": {"all"}, "q": {q.Q}}.Encode()
		}
	}
	for _, of := range shown {
		page.Rows = append(page.Rows, residenceRowOf(of, f))
	}
	p.render(w, http.StatusOK, "residency.html", page)
}

func residencySummary(all int, found []mfpgate.Residence) string {
	n := map[mfpgate.ResidenceState]int{}
	for _, of := range found {
		n[of.State]++
	}
	var parts []string
	for _, s := range []struct {
		state mfpgate.ResidenceState
		words string
	}{{mfpgate.ResidenceHome, "at home here"}, {mfpgate.ResidenceForeign, "registered here with the data elsewhere"}, {mfpgate.ResidenceAbroad, "in another region"},
		{mfpgate.ResidenceMoving, "being moved"}, {mfpgate.ResidenceUnknown, "not known"}} {
		if n[s.state] > 0 {
			parts = append(parts, count(n[s.state])+" "+s.words)
		}
	}
	switch {
	case all == 0:
		return "No device is known yet."
	case len(found) == 0:
		return "No device of " + count(all) + " matches."
	}
	return counted(len(found), "device", "devices") + ": " + strings.Join(parts, ", ") + "."
}

func residenceRowOf(of mfpgate.Residence, f frame) residenceRow {
	row := residenceRow{Name: residentName(of), Href: deviceHref(of.Device), MFP: of.MFP, Market: regionName(of.Market), Home: regionOr(of.Home, "Not known"), HomeKnown: of.Home != "", State: residenceLook(of.State),
		Why: sentence(of.Detail), Since: dated(of.Since, f.zone), Registration: of.Registration, Enforcement: enforcementLook(of)}
	for _, s := range of.Services {
		text := s.ID
		if len(s.Children) > 0 {
			text += " with " + strings.Join(s.Children, ", ")
		}
		row.Services = append(row.Services, text)
	}
	row.Regions, row.LeftBehind = dataByRegion(of)
	for _, r := range of.Receipts {
		row.Receipts = append(row.Receipts, receiptOf(r, f, receiptHref(of.Device, r.ID)))
	}
	if of.Move != "" {
		row.Move = moveHref(of.Move)
	}
	if of.State == mfpgate.ResidenceAbroad || of.State == mfpgate.ResidenceForeign {
		row.Plan = planHref(of.Device)
	}
	return row
}

// dataByRegion is what each region holds, the home first, and in words what of it was left behind elsewhere. What a receipt says was
// left is left, whether or not the region still lists it.
func dataByRegion(of mfpgate.Residence) (list []regionData, left []string) {
	by, named := map[string][]string{}, map[[2]string]bool{}
	add := func(region string, d mfpgate.HeldData) {
		if named[[2]string{region, d.Class}] {
			return
		}
		named[[2]string{region, d.Class}] = true
		by[region] = append(by[region], heldWords(d))
		if region != of.Home && of.Home != "" && of.State != mfpgate.ResidenceMoving {
			left = append(left, d.Class+" in "+regionOr(region, "a region that is not named"))
		}
	}
	for _, d := range of.Data {
		add(d.Region, d.HeldData)
	}
	for _, r := range of.Receipts {
		for _, d := range r.Left {
			add(r.Region, d)
		}
	}
	for region, data := range by {
		list = append(list, regionData{regionOr(region, "A region that is not named"), region == of.Home && region != "", data})
	}
	slices.SortFunc(list, func(a, b regionData) int {
		if a.Here != b.Here {
			return map[bool]int{true: -1, false: 1}[a.Here]
		}
		return cmp.Compare(a.Region, b.Region)
	})
	return list, left
}

func receiptHref(device mfpgate.DeviceID, id string) string {
	if id == "" {
		return ""
	}
	return "/residency/" + url.PathEscape(string(device)) + "/receipts/" + url.PathEscape(id)
}

// receipt answers a receipt's signature.
func (p *Portal) receipt(w http.ResponseWriter, r *http.Request) {
	all, err := p.Gateway.Residences(r.Context())
	if err != nil && !errors.Is(err, control.ErrMove) {
		p.failed(w, err)
		return
	}
	for _, of := range all {
		for _, receipt := range of.Receipts {
			if string(of.Device) == r.PathValue("device") && receipt.ID == r.PathValue("id") && receipt.Signed != "" {
				sendReceipt(w, receipt)
				return
			}
		}
	}
	p.message(w, http.StatusNotFound, "No such receipt", "No region has told the gateway of it. Look for it among the devices of the residency page.")
}

// toExport are the residences that the address asks for, or false after an answer was written.
func (p *Portal) toExport(w http.ResponseWriter, r *http.Request) ([]mfpgate.Residence, bool) {
	all, err := p.residences(r.Context())
	if errors.Is(err, control.ErrMove) {
		p.message(w, http.StatusServiceUnavailable, "Not known now", moveRefused(err))
		return nil, false
	}
	if err != nil {
		p.failed(w, err)
		return nil, false
	}
	return residencesFound(all, queryOf(r).Q), true
}

func (p *Portal) residencyCSV(w http.ResponseWriter, r *http.Request) {
	if list, ok := p.toExport(w, r); ok {
		w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
		w.Header().Set("Content-Disposition", `attachment; filename="residency.csv"`)
		_, _ = w.Write([]byte("\ufeff")) // as devices.csv has it
		_ = control.WriteResidencesCSV(w, list)
	}
}

// howToCheck is said with every export.
const howToCheck = "Run \"mfpgate audit verify\" at the gateway: it fails if an entry of the audit of its moves was changed, taken out or put in; \"mfpcloud audit verify\" does so for a region's. " +
	"A receipt's \"signed\" is a JSON Web Signature (RFC 7515, EdDSA); check it with the public key of the region that it names, which \"mfpcloud key\" prints there."

// residencyFile is residency.json.
type residencyFile struct {
	Gateway    string              `json:"site"`
	Region     string              `json:"region"`
	AsOf       time.Time           `json:"asOf"`
	Check      string              `json:"howToCheck"`
	Residences []mfpgate.Residence `json:"residences"`
}

func (p *Portal) residencyJSON(w http.ResponseWriter, r *http.Request) {
	list, ok := p.toExport(w, r)
	if !ok {
		return
	}
	site := p.Gateway.Status(r.Context()).Site
	file := residencyFile{site.Name, site.Region, p.Clock.Now().UTC().Truncate(time.Second), howToCheck, append([]mfpgate.Residence{}, list...)}
	text, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		p.failed(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Disposition", `attachment; filename="residency.json"`)
	_, _ = w.Write(append(text, '\n'))
}
