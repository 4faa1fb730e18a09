package region

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

const (
	refreshEvery  = time.Minute // of peers' hosts
	refreshSooner = time.Second // while those of a peer are not known
	maxHosts      = 32          // of one role
	maxHostText   = 300         // bytes
	hostsPrefix   = "hosts/"
)

// hosts are those of every region that is known.
type hosts struct {
	mu                        sync.Mutex
	own                       mfpgate.RegionHosts
	managementURL, serviceURL string
	peers                     map[string]mfpgate.RegionHosts
}

// reached fills in of the region's own what nobody has said.
func (h *hosts) reached(said mfpgate.RegionHosts, managementURL, servicesURL string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fill := func(named []string, at string) ([]string, string) {
		u, err := url.Parse(at)
		if err != nil || u.Host == "" {
			return named, at
		}
		if len(named) == 0 {
			return []string{u.Host}, at
		}
		return named, u.Scheme + "://" + named[0]
	}
	h.own = said
	h.own.Management, h.managementURL = fill(said.Management, managementURL)
	h.own.Services, h.serviceURL = fill(said.Services, servicesURL)
}

func (h *hosts) servicesURL() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.serviceURL
}

// urls are where devices reach a region's roles.
func (m *Management) urls(region string) (managementURL, servicesURL string, known bool) {
	m.hosts.mu.Lock()
	defer m.hosts.mu.Unlock()
	if region == m.Region {
		return m.hosts.managementURL, m.hosts.serviceURL, m.hosts.managementURL != ""
	}
	h, known := m.hosts.peers[region]
	if !known {
		return "", "", false
	}
	scheme := "https"
	if u, err := url.Parse(m.At[region].Management); err == nil && u.Scheme != "" {
		scheme = u.Scheme
	}
	return scheme + "://" + h.Management[0], scheme + "://" + h.Services[0], true
}

// all are the own hosts first, then the peers', by region.
func (h *hosts) all(region string, peers []string) []mfpgate.RegionHosts {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := []mfpgate.RegionHosts{{Region: region, Management: slices.Clone(h.own.Management), Services: slices.Clone(h.own.Services)}}
	for _, name := range peers {
		if found, ok := h.peers[name]; ok {
			list = append(list, found)
		}
	}
	return list
}

// loadHosts reads what peers said before the last stop: a gateway's map must not lose a region because that is down.
func (m *Management) loadHosts(ctx context.Context) error {
	m.hosts.peers = map[string]mfpgate.RegionHosts{}
	return m.Store.View(ctx, func(at store.Snapshot) error {
		for r, err := range store.All(at, hostsPrefix) {
			if err != nil {
				return err
			}
			var h mfpgate.RegionHosts
			if err := json.Unmarshal(r.Value, &h); err != nil {
				return fmt.Errorf("record %q: %w", r.Key, err)
			}
			m.hosts.peers[h.Region] = h
		}
		return nil
	})
}

// refreshing asks each peer for its hosts, until ctx ends.
func (m *Management) refreshing(ctx context.Context) error {
	said := map[string]bool{}
	for {
		wait := refreshEvery
		note := func(name string, err error) {
			if err != nil && ctx.Err() == nil {
				if why, ok := errors.AsType[*Refusal](err); !ok || why.Reason != ReasonNoAddress { // that takes a restart
					wait = refreshSooner
				}
				if !said[name] {
					m.Log.Warn().Str(field.Region, name).AnErr(field.Error, err).Msg(event.MoveUnreached)
				}
			}
			said[name] = err != nil
		}
		peers, err := m.links.names()
		note(m.Region, err)
		for _, name := range peers {
			note(name, m.refresh(ctx, name))
		}
		for name := range m.At {
			if !slices.Contains(peers, name) { // agreements are made while the region runs
				wait = refreshSooner
			}
		}
		if mfpgate.Wait(ctx, m.Clock, wait) != nil {
			return nil
		}
	}
}

// refresh takes of a peer's signed document what it says of itself.
func (m *Management) refresh(ctx context.Context, name string) error {
	link, err := m.links.to(name)
	if err != nil {
		return err
	}
	list, err := link.Hosts(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(h mfpgate.RegionHosts) bool { return h.Region == name })
	if i < 0 {
		return fmt.Errorf("region %s does not say where it is", name)
	}
	found := list[i]
	if err := checkHosts(found); err != nil {
		return err
	}
	m.hosts.mu.Lock()
	have, known := m.hosts.peers[name]
	err = m.hosts.claimed(found)
	m.hosts.mu.Unlock()
	if err != nil {
		return err
	}
	if known && slices.Equal(have.Management, found.Management) && slices.Equal(have.Services, found.Services) {
		return nil
	}
	if err := m.update(ctx, func(tx store.Tx) error { return store.SetJSON(tx, hostsPrefix+name, found) }); err != nil {
		return err
	}
	m.hosts.mu.Lock()
	defer m.hosts.mu.Unlock()
	m.hosts.peers[name] = found
	return nil
}

// claimed refuses hosts that are this region's, or that another one has named before: devices would be led into the wrong region, and
// gateways refuse a document in which one host is of two regions. mu is held.
func (h *hosts) claimed(by mfpgate.RegionHosts) error {
	others := []mfpgate.RegionHosts{h.own}
	for name, r := range h.peers {
		if name != by.Region {
			others = append(others, r)
		}
	}
	for _, other := range others {
		for _, host := range slices.Concat(by.Management, by.Services) {
			if slices.ContainsFunc(slices.Concat(other.Management, other.Services), func(theirs string) bool { return sameHost(host, theirs) }) {
				return fmt.Errorf("region %s names host %.80q, which is of %s", by.Region, host, cmp.Or(other.Region, "this region"))
			}
		}
	}
	return nil
}

// sameHost compares two host:port, or hosts alone, however they are written.
func sameHost(a, b string) bool {
	of := func(text string) (host mfpgate.Host, port string) {
		name, port, err := net.SplitHostPort(text)
		if err != nil {
			name, port = text, ""
		}
		host, _ = mfpgate.ParseHost(name) // checkHosts has read it
		return host, port
	}
	hostA, portA := of(a)
	hostB, portB := of(b)
	return hostA.Valid() && hostA == hostB && portA == portB
}

// checkHosts refuses what no device can be sent to.
func checkHosts(h mfpgate.RegionHosts) error {
	for _, list := range [][]string{h.Management, h.Services} {
		if len(list) == 0 || len(list) > maxHosts {
			return fmt.Errorf("region %s names no host of a role, or too many", h.Region)
		}
		for _, text := range list {
			if err := CheckHost(text); err != nil {
				return fmt.Errorf("region %s: %w", h.Region, err)
			}
		}
	}
	return nil
}

// CheckHost refuses what is neither host:port nor a host.
func CheckHost(text string) error {
	host := text
	if name, port, err := net.SplitHostPort(text); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("host %.64q: the port must be 1 to 65535", text)
		}
		host = name
	}
	if len(text) > maxHostText {
		return fmt.Errorf("host %.64q…: longer than %d bytes", text, maxHostText)
	}
	_, err := mfpgate.ParseHost(host)
	return err
}

// signedRegions tells everybody where every region is.
func (m *Management) signedRegions(context.Context, *struct{}) (*struct{ Body api.SignedRegions }, error) {
	peers, err := m.links.names()
	if err != nil { // a document without them would take them from every gateway's map
		return nil, answer(err)
	}
	list := m.hosts.all(m.Region, peers)
	if len(list[0].Management) == 0 {
		return nil, starting()
	}
	signed, err := jws.Sign(m.Key, api.PurposeRegions, list)
	if err != nil {
		return nil, answer(err)
	}
	return &struct{ Body api.SignedRegions }{api.SignedRegions{Items: list, Signed: signed}}, nil
}

// keys are the regions' public keys.
func (m *Management) keys(context.Context, *struct{}) (*struct{ Body api.RegionKeys }, error) {
	out := api.RegionKeys{Keys: map[string][]string{m.Region: {jws.EncodeKey(m.Key.Public().(ed25519.PublicKey))}}}
	peers, err := m.links.names()
	if err != nil {
		return nil, answer(err)
	}
	for _, name := range peers {
		if key, ok := m.links.key(name); ok {
			out.Keys[name] = []string{key}
		}
	}
	return &struct{ Body api.RegionKeys }{out}, nil
}

// checkReceipt tells whether a region signed its deletion receipt.
func (m *Management) checkReceipt(region string, r mfpgate.DeletionReceipt) error {
	key := m.Key.Public().(ed25519.PublicKey)
	if region != m.Region {
		text, ok := m.links.key(region)
		if !ok {
			return fmt.Errorf("region %s is no peer any more: its receipts cannot be checked", region)
		}
		var err error
		if key, err = jws.ParseKey(text); err != nil {
			return err
		}
	}
	return jws.CheckReceipt([]ed25519.PublicKey{key}, r)
}
