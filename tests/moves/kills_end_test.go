package moves_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region/regiontest"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/tests/regions"
)

// chains fetches what all writers wrote, after each has looked whether its own chain is whole.
func (k *killScene) chains() regiontest.Chains {
	k.t.Helper()
	all := regiontest.Chains{}
	for _, r := range []*regions.Region{k.JP, k.US} {
		for _, room := range []string{"management", "services"} {
			path, writer := "/v1/audit/"+room, r.Name+"/"+room
			var whole struct{ Items []struct{ Wrong string } }
			if err := k.operator(r, k.management(r), http.MethodGet, path+"/verify", &whole); err != nil {
				k.t.Fatal(err)
			}
			for _, c := range whole.Items {
				if c.Wrong != "" {
					k.t.Errorf("the chain of %s: %s", writer, c.Wrong)
				}
			}
			for before := uint64(0); before != 1; {
				query := "?limit=500"
				if before > 0 {
					query += fmt.Sprint("&before=", before)
				}
				var page api.Page[journal.Entry]
				if err := k.operator(r, k.management(r), http.MethodGet, path+query, &page); err != nil {
					k.t.Fatal(err)
				}
				all[writer] = append(all[writer], page.Items...)
				if len(page.Items) == 0 {
					break
				}
				before = page.Items[len(page.Items)-1].Seq
			}
			slices.Reverse(all[writer])
		}
	}
	var report control.AuditReport
	k.Gateway.API(k.t, "audit/verify", &report)
	if !report.Right {
		k.t.Errorf("the gateway's chains: %+v", report)
	}
	writer := regions.Gateway + "/route"
	for before := uint64(0); before != 1; {
		path := "audit?room=route&limit=1000"
		if before > 0 {
			path += fmt.Sprint("&before=", before)
		}
		var page struct{ Items []control.AuditEntry }
		k.Gateway.API(k.t, path, &page)
		for _, e := range page.Items {
			all[writer] = append(all[writer], e.Entry)
			before = e.Seq
		}
		if len(page.Items) == 0 {
			break
		}
	}
	slices.Reverse(all[writer])
	return all
}

// facts are those that the chains do not tell, at the end.
func (k *killScene) facts() regiontest.Facts {
	f := regiontest.Facts{Offers: map[string][]mfpgate.ServiceOffer{
		"jp": {{ID: "document-cloud", Children: []string{"translate"}}}, "us": {{ID: "document-cloud", Children: []string{"translate", "whiteboard"}}},
	}}
	for _, m := range k.all() {
		f.Moves = append(f.Moves, m)
	}
	return f
}

// end waits for the end of all moves, and wants all to be as it has to be.
func (k *killScene) end() (outcomes map[mfpgate.MoveState]int) {
	t := k.t
	t.Helper()
	var moves map[string]mfpgate.Move
	k.wait("all moves have ended", func() bool {
		moves = k.all()
		for _, m := range moves {
			if !m.State.Ended() {
				return false
			}
		}
		return moves != nil
	})
	t.Logf("messages: %v", k.calm())
	outcomes = map[mfpgate.MoveState]int{}
	homes := map[string]string{}
	for mfp, m := range moves {
		outcomes[m.State]++
		homes[mfp] = map[mfpgate.MoveState]string{mfpgate.MoveDone: "jp", mfpgate.MoveRolledBack: "us"}[m.State]
	}
	before := map[string]int{}
	for mfp := range moves {
		before[mfp] = k.told(mfp).taken
	}
	k.wait("every device works on at its home", func() bool {
		for mfp, home := range homes {
			if now := k.told(mfp); now.taken <= before[mfp] || now.home != home {
				return false
			}
		}
		return true
	})
	k.victims.Lock()
	for mfp, d := range k.machines { // from now on nothing changes
		_ = d.cmd.Process.Kill()
		delete(k.machines, mfp)
	}
	k.victims.Unlock()
	k.held(moves, homes)
	chains := k.chains()
	for _, v := range regiontest.Check(chains, k.facts()) {
		t.Errorf("broken: %s", v)
		for writer, entries := range chains {
			for _, e := range entries {
				if strings.Contains(string(e.After), string(v.Move)) {
					t.Logf("%s %d %s: %s", writer, e.Seq, e.Action, e.After)
				}
			}
		}
	}
	return outcomes
}

// held wants each device to be held by its home alone, with all that it was told is kept.
func (k *killScene) held(moves map[string]mfpgate.Move, homes map[string]string) {
	t := k.t
	t.Helper()
	active := map[string][]string{}
	for _, r := range []*regions.Region{k.JP, k.US} {
		var page api.Page[mfpgate.Holding]
		if err := k.operator(r, k.services(r), http.MethodGet, "/svc/v1/registrations?limit=500", &page); err != nil {
			t.Fatal(err)
		}
		for _, h := range page.Items {
			switch h.State {
			case mfpgate.HoldingAbsent, mfpgate.HoldingAborted:
			default:
				active[h.MFP] = append(active[h.MFP], fmt.Sprintf("%s %s %d", r.Name, h.State, h.Epoch))
			}
		}
	}
	for mfp, home := range homes {
		m := moves[mfp]
		epoch := m.Epoch
		if home == "us" {
			epoch--
		}
		if want := fmt.Sprintf("%s active %d", home, epoch); !slices.Equal(active[mfp], []string{want}) {
			t.Errorf("%s is %q, want %q alone", mfp, active[mfp], want)
		}
		k.kept(mfp, map[string]*regions.Region{"jp": k.JP, "us": k.US}[home])
	}
}

// kept wants every item at a device's home to be what the device was told last, or something that it has sent since.
func (k *killScene) kept(mfp string, home *regions.Region) {
	k.t.Helper()
	l := k.told(mfp)
	if len(l.items) < classes {
		k.t.Errorf("%s was told of %d items only", mfp, len(l.items))
	}
	for item, v := range l.items {
		status, text, err := k.fetch(http.MethodGet, k.services(home), "/svc/v1/devices/"+mfp+"/data/"+item, func(q *http.Request) {
			q.Header.Set("Authorization", l.authorization)
		})
		if err != nil {
			k.t.Fatal(err)
		}
		if status == http.StatusNotFound && !v.acknowledged {
			continue
		}
		if status != http.StatusOK || !slices.ContainsFunc(v.can, func(v []byte) bool { return bytes.Equal(v, text) }) {
			k.t.Errorf("%s of %s in %s: %d %s, want one of %s", item, mfp, home.Name, status, text, bytes.Join(v.can, []byte(" or ")))
		}
	}
}

// rules are those that were broken.
func rules(broken []regiontest.Violation) (list []regiontest.Rule) {
	for _, v := range broken {
		list = append(list, v.Rule)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// premature tells the gateway of moves that are open that they are committed.
func premature(_ string, answer []byte) []byte {
	var page struct {
		Items      []map[string]any `json:"items"`
		NextCursor string           `json:"nextCursor"`
	}
	if json.Unmarshal(answer, &page) != nil || !strings.Contains(string(answer), `"state":"open"`) {
		return answer
	}
	for _, m := range page.Items {
		if m["state"] == string(mfpgate.MoveOpen) {
			m["state"], m["step"], m["committedAt"] = mfpgate.MoveCommitted, mfpgate.StepSwitch, m["startedAt"]
		}
	}
	text, err := json.Marshal(page)
	if err != nil {
		return answer
	}
	return text
}
