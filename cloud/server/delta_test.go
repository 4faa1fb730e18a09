package server_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/store"
)

// model is what a gateway knows of its deliveries by reading the list: id to version.
type model struct {
	gateway string
	token   string
	known   map[string]api.Version
	wholes  int
}

// read reads a delta in pages of limit. between is called after the first page.
func (m *model) read(d *desk, limit int, between func()) {
	d.t.Helper()
	query := fmt.Sprintf("?limit=%d&since=%s", limit, m.token)
	cursor, fresh := "", map[string]api.Version{}
	for n := 0; ; n++ {
		if n > 1000 {
			d.t.Fatal("the pages have no end")
		}
		got := d.as(m.gateway, "GET", path(m.gateway, "deliveries")+query+"&cursor="+cursor, nil)
		page := decode[api.Deliveries](d.t, got)
		if n == 0 {
			if page.Whole {
				m.wholes++
			} else {
				fresh = m.known
			}
		}
		for _, w := range page.Items {
			if w.State == "planned" || w.State == "running" {
				fresh[w.DeliveryID] = w.Version
			} else {
				delete(fresh, w.DeliveryID)
			}
		}
		for _, id := range page.Removed {
			delete(fresh, id)
		}
		if n == 0 && between != nil {
			between()
		}
		if cursor = page.NextCursor; cursor == "" {
			m.token, m.known = page.DeltaToken, fresh
			return
		}
	}
}

// TestDeltaTellsWhatHasChanged holds what gateways learn by deltas, whenever they read, against what there is.
func TestDeltaTellsWhatHasChanged(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			d := newDesk(t, "outer", "inner")
			type place struct{ gw, id string }
			mode := map[string]string{}
			gateways := []string{"outer", "inner"}
			device := func(gw string) string { return fmt.Sprintf("dev_%s%d", gw, random.IntN(4)) }
			there := map[string]struct {
				place
				device, state string
				version       int
			}{}
			readers := []*model{{gateway: "outer"}, {gateway: "inner"}}
			ids := func() (list []string) {
				for id := range there {
					list = append(list, id)
				}
				return list
			}
			step := func() {
				gw := gateways[random.IntN(2)]
				dev := device(gw)
				switch random.IntN(6) {
				case 0, 1:
					if mode[dev] == "" {
						return
					}
					id := fmt.Sprintf("d%d", random.IntN(40))
					if _, known := there[id]; known {
						return
					}
					d.plan(gw, at(id, dev, tonight.Add(time.Duration(random.IntN(100))*time.Hour)))
					e := there[id]
					e.place, e.device, e.state, e.version = place{gw, id}, dev, "planned", 1
					there[id] = e
				case 2:
					next := []string{"proxy", "polling"}[random.IntN(2)]
					d.tell(gw, dev, next)
					mode[dev] = next
				case 3:
					if mode[dev] == "" {
						return
					}
					got := d.as("hana", "DELETE", path(gw, "devices", dev), nil, "If-Match", "*")
					if got.status != 204 {
						t.Fatalf("delete device: %d %s", got.status, got.body)
					}
					mode[dev] = ""
				case 4, 5:
					list := ids()
					if len(list) == 0 {
						return
					}
					e := there[list[random.IntN(len(list))]]
					target, tag := path(e.gw, "deliveries", e.id), fmt.Sprintf(`"%d"`, e.version)
					if random.IntN(2) == 0 {
						if got := d.as("hana", "DELETE", target, nil, "If-Match", tag); got.status != 204 {
							t.Fatalf("delete: %d %s", got.status, got.body)
						}
						delete(there, e.id)
						return
					}
					if mode[e.device] == "" || e.state != "planned" {
						return
					}
					w := at(e.id, e.device, tonight.Add(time.Duration(random.IntN(100))*time.Hour))
					if random.IntN(4) == 0 {
						w.State, e.state = "cancelled", "cancelled"
					}
					if got := d.as("hana", "PUT", target+"?allowOverload=true", w, "If-Match", tag); got.status != 200 {
						t.Fatalf("put: %d %s", got.status, got.body)
					}
					e.version++
					there[e.id] = e
				}
			}
			for range 50 {
				for range random.IntN(6) {
					step()
				}
				if random.IntN(12) == 0 {
					d.restart()
				}
				reader := readers[random.IntN(2)]
				if random.IntN(3) == 0 {
					reader.read(d, 1+random.IntN(4), func() { step(); step() }) // what changes between pages is told now or next time
				}
				reader.read(d, 1+random.IntN(4), nil)
				want := map[string]api.Version{}
				for _, e := range there {
					if e.state == "planned" && mode[e.device] == "proxy" && (e.gw == reader.gateway || reader.gateway == "outer") {
						want[e.id] = api.Version(fmt.Sprint(e.version))
					}
				}
				if diff := cmp.Diff(want, reader.known); diff != "" {
					t.Fatalf("%s: %s", reader.gateway, diff)
				}
			}
			for _, r := range readers {
				if r.wholes > 10 {
					t.Errorf("%s was told everything %d times", r.gateway, r.wholes)
				}
			}
		})
	}
}

func TestTokensThatAreTooOld(t *testing.T) {
	d := newDesk(t, "osaka-1")
	d.tell("osaka-1", "dev_1", "proxy")
	d.plan("osaka-1", at("d1", "dev_1", tonight))
	whole := decode[api.Deliveries](t, d.as("osaka-1", "GET", path("osaka-1", "deliveries"), nil))
	const many = 5000 // more entries than the log keeps: a number that has risen by it is all that is left of them
	servertest.Must(t, d.facts.Update(t.Context(), func(tx store.Tx) error {
		head := map[string]any{}
		servertest.Must(t, store.GetJSON(tx, "schedule/osaka-1", &head))
		head["seq"] = head["seq"].(float64) + many
		return store.SetJSON(tx, "schedule/osaka-1", head)
	}))
	for _, since := range []string{whole.DeltaToken, "", "x", "log_other.1", whole.DeltaToken + "9999999"} {
		if got := decode[api.Deliveries](t, d.as("osaka-1", "GET", path("osaka-1", "deliveries?since="+since), nil)); !got.Whole || len(got.Items) != 1 {
			t.Errorf("since %q: %+v", since, got)
		}
	}
	events := decode[api.ScheduleEvents](t, d.as("osaka-1", "GET", path("osaka-1", "events?after=1"), nil))
	if !events.Lost || events.Next < many || len(events.Items) != 0 {
		t.Errorf("events of long ago: %+v", events)
	}
}
