package route

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// parseEndpoint reads "host:port", or "host" for every port.
func parseEndpoint(s string) (endpoint, error) {
	if len(s) > 300 {
		return endpoint{}, fmt.Errorf("%w: %.40q and more", mfpgate.ErrHost, s)
	}
	if host, err := mfpgate.ParseHost(s); err == nil {
		return endpoint{host: host}, nil
	}
	text, number, err := net.SplitHostPort(s)
	if err != nil {
		return endpoint{}, fmt.Errorf("%w: %.64q", mfpgate.ErrHost, s)
	}
	if strings.Contains(text, ":") {
		text = "[" + text + "]"
	}
	host, err := mfpgate.ParseHost(text)
	if err != nil {
		return endpoint{}, err
	}
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil || port == 0 {
		return endpoint{}, fmt.Errorf("%w: port of %.64q", mfpgate.ErrHost, s)
	}
	return endpoint{host, uint16(port)}, nil
}

// endpoints reads a list that was checked before.
func endpoints(list []string) []endpoint {
	out := make([]endpoint, 0, len(list))
	for _, s := range list {
		if e, err := parseEndpoint(s); err == nil {
			out = append(out, e)
		}
	}
	return out
}

var errRegions = errors.New("the document of the regions' hosts is of no use")

// checkRegions refuses a document as a whole: what is half understood would open what must be closed.
func checkRegions(list []mfpgate.RegionHosts) error {
	if len(list) == 0 || len(list) > MaxRegions {
		return fmt.Errorf("%w: it names %d regions, and may name 1 to %d", errRegions, len(list), MaxRegions)
	}
	of, named := map[endpoint]string{}, map[string]bool{}
	for _, r := range list {
		if !goodRegion(r.Region) || named[r.Region] {
			return fmt.Errorf("%w: region %.20q is not a name, or stands there twice", errRegions, r.Region)
		}
		named[r.Region] = true
		if len(r.Management) > MaxHosts || len(r.Services) > MaxHosts {
			return fmt.Errorf("%w: region %s lists %d and %d hosts, and may list %d", errRegions, r.Region, len(r.Management), len(r.Services), MaxHosts)
		}
		for _, s := range slices.Concat(r.Management, r.Services) {
			e, err := parseEndpoint(s)
			if err != nil {
				return fmt.Errorf("%w: region %s: %w", errRegions, r.Region, err)
			}
			if other, taken := of[e]; taken && other != r.Region {
				return fmt.Errorf("%w: regions %s and %s both list %s", errRegions, other, r.Region, s)
			}
			of[e] = r.Region
		}
	}
	if data, err := json.Marshal(list); err != nil || len(data) > maxRecord {
		return fmt.Errorf("%w: it measures %d bytes, and may measure %d", errRegions, len(data), maxRecord)
	}
	return nil
}

// refreshHosts reads the regions' hosts. If they changed, the table and the open tunnels follow.
func (b *Broker) refreshHosts(ctx context.Context) error {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := b.Cloud.Hosts(call)
	if err == nil {
		err = checkRegions(list)
	}
	if err != nil {
		return fmt.Errorf("read the regions' hosts: %w", err)
	}
	b.change.Lock()
	defer b.change.Unlock()
	next := &regions{Schema: schema, At: b.now(), Items: b.carried(list)}
	if err := b.update(ctx, func(tx store.Tx) error { return store.SetJSON(tx, hostsKey, next) }); err != nil {
		return fmt.Errorf("keep the regions' hosts: %w", err)
	}
	b.mu.Lock()
	changed := !reflect.DeepEqual(b.regions.Items, next.Items)
	b.regions = next
	b.mu.Unlock()
	if changed {
		b.publish()
		b.reroute()
	}
	return nil
}

// carried adds to a new document the regions that it does not name any more, or without any host, and that a route needs. Without
// their hosts the relay would not know them again, and let devices there.
func (b *Broker) carried(list []mfpgate.RegionHosts) []mfpgate.RegionHosts {
	needed := map[string]bool{}
	for _, r := range b.routes {
		needed[r.From], needed[r.To] = true, true
	}
	empty := func(r mfpgate.RegionHosts) bool { return len(r.Management)+len(r.Services) == 0 }
	out := slices.Clone(list)
	for _, old := range b.regions.Items {
		i := slices.IndexFunc(out, func(r mfpgate.RegionHosts) bool { return r.Region == old.Region })
		if !needed[old.Region] || empty(old) || i >= 0 && !empty(out[i]) {
			continue
		}
		b.Log.Warn().Str(field.Region, old.Region).Str(field.Text, "the regions' document names no hosts of this region any more, and routes need them; the last known ones stay in force").Msg(event.MoveUnreached)
		if i >= 0 {
			out[i] = old
		} else if len(out) < 2*MaxRegions {
			out = append(out, old)
		}
	}
	slices.SortFunc(out, func(x, y mfpgate.RegionHosts) int { return strings.Compare(x.Region, y.Region) })
	return out
}
