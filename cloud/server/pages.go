package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/console"
	"github.com/mfpgate/mfpgate/store"
)

// registerPages mounts the operators' pages. What they load is public: it says nothing of the region.
func (s *Server) registerPages() error {
	pages, err := console.New(console.Options{
		Region: s.Region, Facts: facts{s}, Schedule: schedules{s}, Clock: s.Clock,
		Operator: func(r *http.Request) string { return callOf(r.Context()).who.id },
		Failed:   func(r *http.Request, err error) { callOf(r.Context()).cause = err },
	})
	if err != nil {
		return err
	}
	if err := s.registerPrint(pages.AssetPath); err != nil {
		return err
	}
	s.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ui/", http.StatusSeeOther) })
	s.mux.HandleFunc("GET /ui/assets/{name}", pages.Assets)
	s.mux.HandleFunc("/ui/", func(w http.ResponseWriter, r *http.Request) {
		who, p := s.authenticate(r.Header.Get("Authorization"), r.RemoteAddr)
		if _, _, basic := r.BasicAuth(); !basic {
			p = askOperator(refuse(http.StatusUnauthorized, ReasonNoToken,
				"Log in as an operator. `mfpcloud operator add NAME --state DIR` makes an account and prints its password."), s.Region)
		}
		if p != nil {
			for name, values := range p.headers {
				w.Header()[name] = values
			}
			noted(r.Context(), p, r.URL.Path)
			pages.Message(w, r, p.Status, sentence(p.Detail))
			return
		}
		callOf(r.Context()).who = who
		pages.ServeHTTP(w, r)
	})
	return nil
}

// sentence makes a problem's detail one, for a page.
func sentence(detail string) string {
	detail = strings.ToUpper(detail[:min(1, len(detail))]) + detail[min(1, len(detail)):]
	return strings.TrimSuffix(detail, ".") + "."
}

// facts is what the pages see of the server: the API's own reads.
type facts struct{ s *Server }

func (f facts) Gateways(ctx context.Context, after string, limit int) (list []console.Gateway, next string, err error) {
	ids, err := f.s.Folder.Gateways()
	if err != nil {
		return nil, "", err
	}
	at, found := slices.BinarySearch(ids, after)
	if found {
		at++
	}
	ids = ids[at:]
	if len(ids) > limit {
		ids, next = ids[:limit], ids[limit-1]
	}
	for _, id := range ids {
		g, err := f.summary(ctx, id)
		if err != nil {
			return nil, "", err
		}
		list = append(list, g)
	}
	return list, next, nil
}

func (f facts) Gateway(ctx context.Context, id string) (console.Gateway, error) {
	ids, err := f.s.Folder.Gateways()
	if err != nil {
		return console.Gateway{}, err
	}
	if _, found := slices.BinarySearch(ids, id); !found {
		return console.Gateway{}, refuse(http.StatusNotFound, ReasonNoGateway, "the region has no such gateway")
	}
	return f.summary(ctx, id)
}

func (f facts) summary(ctx context.Context, id string) (console.Gateway, error) {
	g := console.Gateway{ID: id}
	err := f.s.Store.View(ctx, func(at store.Snapshot) error {
		devices, err := at.Scan(devicePrefix(id), "", console.DevicesCounted)
		if err != nil {
			return err
		}
		for _, r := range devices {
			var d deviceRecord
			if err := json.Unmarshal(r.Value, &d); err != nil {
				return fmt.Errorf("record %q: %w", r.Key, err)
			}
			g.Devices++
			switch d.Device.State {
			case "online":
				g.Online++
			case "offline":
				g.Offline++
			}
		}
		open, err := at.Scan(openPrefix(id), "", console.DevicesCounted)
		if err != nil {
			return err
		}
		for _, r := range open {
			var o openRecord
			if err := json.Unmarshal(r.Value, &o); err != nil {
				return fmt.Errorf("record %q: %w", r.Key, err)
			}
			g.Open += len(o.Alerts)
		}
		for _, k := range []kind{kindTelemetry, kindAlerts} {
			r, _, err := store.FindJSON[streamRecord](at, streamKey(id, k))
			if err != nil {
				return err
			}
			g.Missing += r.Missing
			if r.At.After(g.LastHeard) {
				g.LastHeard = r.At
			}
		}
		return nil
	})
	return g, err
}

func (f facts) Devices(ctx context.Context, gateway, from string, limit int) ([]console.Device, string, error) {
	after, err := Paging{Cursor: from}.after()
	if err != nil {
		return nil, "", err
	}
	found, err := f.s.devices(ctx, gateway, after, limit)
	if err != nil {
		return nil, "", err
	}
	list := make([]console.Device, len(found.Items))
	err = f.s.Store.View(ctx, func(at store.Snapshot) error {
		for i, d := range found.Items {
			if list[i], err = whole(at, gateway, d); err != nil {
				return err
			}
		}
		return nil
	})
	return list, found.NextCursor, err
}

// whole adds to a device what was heard of it, without the history of its counters.
func whole(at store.Getter, gateway string, d api.DeviceEntry) (console.Device, error) {
	r, _, err := store.FindJSON[readingRecord](at, readingKey(gateway, d.DeviceID))
	if err != nil {
		return console.Device{}, err
	}
	o, _, err := store.FindJSON[openRecord](at, openKey(gateway, d.DeviceID))
	return console.Device{DeviceEntry: d, Reading: r.Reading, Open: o.Alerts}, err
}

func (f facts) Device(ctx context.Context, gateway, id string) (console.Device, error) {
	d, _, err := f.s.device(ctx, gateway, id)
	if err != nil {
		return console.Device{}, err
	}
	var out console.Device
	err = f.s.Store.View(ctx, func(at store.Snapshot) error {
		if out, err = whole(at, gateway, d); err != nil {
			return err
		}
		h, _, err := store.FindJSON[historyRecord](at, historyKey(gateway, id))
		if err != nil {
			return err
		}
		out.Reading.CounterHistory = h.Entries
		f, _, err := store.FindJSON[fetchedRecord](at, fetchedKey(gateway, d.Device))
		if err != nil {
			return err
		}
		out.Fetched = console.Fetched{CheckedInAt: f.CheckedInAt, Reports: f.Reports}
		for _, key := range claimKeys(d.Device) {
			held, there, err := store.FindJSON[claimRecord](at, key)
			if err != nil {
				return err
			}
			if there && held.Gateway == gateway && held.DeviceID != id {
				out.Newer = held.DeviceID
			}
		}
		return nil
	})
	return out, err
}

func (f facts) Alerts(ctx context.Context, gateway, device string, limit int) (list []api.StoredAlert, err error) {
	err = f.s.Store.View(ctx, func(at store.Snapshot) error {
		list = nil
		for r, err := range store.All(at, alertPrefix(gateway)) { // maxAlerts at most
			if err != nil {
				return err
			}
			var a api.StoredAlert
			if err := json.Unmarshal(r.Value, &a); err != nil {
				return fmt.Errorf("record %q: %w", r.Key, err)
			}
			if a.DeviceID == device {
				list = append(list, a)
			}
		}
		return nil
	})
	slices.Reverse(list)
	return list[:min(len(list), limit)], err
}

func (f facts) DeleteDevice(ctx context.Context, gateway, id, ifMatch string) error {
	return f.s.DeleteDevice(ctx, gateway, id, ifMatch)
}
