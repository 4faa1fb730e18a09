package server

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mfpgate/mfpgate"
	broker "github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/cloud/server/region"
	"github.com/mfpgate/mfpgate/store"
)

// Moves are what moves of devices between regions need. The zero value is a region without peers.
type Moves struct {
	Connect         region.Connect            // how the region's own services and peers are called; nil: not at all
	Peers           map[string]region.Address // where other regions are, by region
	ManagementHosts []string                  // under which devices reach the management server; none: where it listens
	ServiceHosts    []string                  // and the services
	Limits          broker.Limits             // of the saga; what is 0 has its default
}

// servicesPath is where all that the services answer stands.
const servicesPath = "/svc/"

// registerRoles mounts the region's management server and its services.
func (s *Server) registerRoles(a huma.API) error {
	if err := s.Folder.SetRegion(s.Region); err != nil {
		return err
	}
	key, err := s.Folder.SigningKey()
	if err != nil {
		return err
	}
	ids, err := s.Folder.RegistrationKey()
	if err != nil {
		return err
	}
	own, err := s.Folder.OwnToken(s.Region)
	if err != nil {
		return err
	}
	for _, host := range append(s.Moves.ManagementHosts, s.Moves.ServiceHosts...) {
		if err := region.CheckHost(host); err != nil {
			return err
		}
	}
	door := region.Door{
		Operation: func(method, path, id, summary string, callers ...region.Role) huma.Operation {
			return operation(a, method, path, id, summary, callers...)
		},
		Caller: roleCaller, Refuse: refuseRole, Ending: s.ending,
	}
	s.management, err = region.NewManagement(context.Background(), region.ManagementOptions{
		Region: s.Region, Store: store.Prefix(s.Store, region.ManagementPrefix), Clock: s.Clock, Log: s.Log, Key: key, IDKey: ids, Own: own,
		Peers: s.Folder.Peers, At: s.Moves.Peers, Connect: s.Moves.Connect, Limits: s.Moves.Limits,
		Hosts:  mfpgate.RegionHosts{Region: s.Region, Management: s.Moves.ManagementHosts, Services: s.Moves.ServiceHosts},
		Device: s.rootDevice, Devices: s.rootDevices, Record: s.mfpRecord, Forget: s.forgetMFP, Door: door,
	})
	if err != nil {
		return err
	}
	s.services, err = region.NewServices(region.ServicesOptions{
		Region: s.Region, Store: store.Prefix(s.Store, region.ServicesPrefix), Clock: s.Clock, Log: s.Log, Key: key, Offers: s.Folder.Offers,
		Peers: s.Folder.Peers, At: s.Moves.Peers, Connect: s.Moves.Connect, Door: door,
	})
	if err != nil {
		return err
	}
	audit, err := region.NewAudit(s.management, s.services)
	if err != nil {
		return err
	}
	s.management.Register(a)
	s.services.Register(a)
	audit.Register(a)
	return nil
}

// reached says where devices find both roles, and connects the management server to the services of its own region, as a client that
// trusts the region's own certificate.
func (s *Server) reached(scheme string, management, services net.Addr, names []string) error {
	var link *region.Link
	if s.Moves.Connect != nil {
		own, err := s.Folder.OwnToken(s.Region)
		if err != nil {
			return err
		}
		p := region.Peering{
			Region: s.Region, ManagementURL: reached(scheme, management, nil), ServicesURL: reached(scheme, services, nil), ManagementToken: own, Clock: s.Clock,
		}
		if scheme == "https" {
			text, err := os.ReadFile(s.Folder.CertificatePath())
			if err != nil {
				return fmt.Errorf("own certificate: %w", err)
			}
			p.RootCAs = x509.NewCertPool()
			p.RootCAs.AppendCertsFromPEM(text)
		}
		if link, err = s.Moves.Connect(p); err != nil {
			return fmt.Errorf("own services: %w", err)
		}
	}
	s.management.Reached(reached(scheme, management, names), reached(scheme, services, names), link)
	return nil
}

func roleCaller(ctx context.Context) region.Caller {
	who := callOf(ctx).who
	return region.Caller{Role: who.role, ID: who.id}
}

func refuseRole(ctx huma.Context, r *region.Refusal) {
	req, w := humago.Unwrap(ctx)
	writeProblem(w, req, fromRole(r))
}

// fromRole is a refusal of the region's roles in this package's form.
func fromRole(r *region.Refusal) *problem {
	if r.Cause != nil {
		return internal(r.Cause)
	}
	p := refuse(r.Status, r.Reason, r.Detail)
	for name := range r.GetHeaders() {
		p.with(name, r.GetHeaders().Get(name))
	}
	return p
}

// part serves one role's resources alone, if the services listen by themselves.
func (s *Server) part(services bool) http.Handler {
	return s.canonical(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, servicesPath) == services {
			s.route(w, r)
			return
		}
		detail := "the services of this region listen elsewhere; GET /v1/regions says where"
		if services {
			detail = "the services have no such resource; the region's management server listens elsewhere"
		}
		writeProblem(w, r, refuse(http.StatusNotFound, ReasonNoResource, detail))
	}))
}

// rootDevice and rootDevices are what gateways have told of.
func (s *Server) rootDevice(ctx context.Context, gateway string, id mfpgate.DeviceID) (mfpgate.Device, bool, error) {
	if len(id) > 64 || strings.ContainsRune(string(id), '/') {
		return mfpgate.Device{}, false, nil
	}
	r, there, err := one[deviceRecord](ctx, s.Store, deviceKey(gateway, string(id)))
	return r.Device.Root(), there, err
}

func (s *Server) rootDevices(ctx context.Context, gateway, after string, limit int) (list []mfpgate.Device, next string, err error) {
	found, more, err := page[deviceRecord](ctx, s.Store, devicePrefix(gateway), after, limit)
	if err != nil {
		return nil, "", err
	}
	for _, r := range found {
		list = append(list, r.Device.Root())
	}
	if more != "" {
		next = string(list[len(list)-1].ID)
	}
	return list, next, nil
}

// mfpRecord is what a device told of itself, which goes with it to another region.
func (s *Server) mfpRecord(ctx context.Context, id string) (json.RawMessage, error) {
	r, there, err := one[mfpRecord](ctx, s.Store, mfpKey(id))
	if err != nil || !there {
		return nil, err
	}
	return json.Marshal(r)
}

// forgetMFP removes all that a device told of itself.
func (s *Server) forgetMFP(ctx context.Context, id string) error {
	for {
		var found []store.Record
		err := s.Store.View(ctx, func(at store.Snapshot) (err error) {
			found, err = at.Scan(reportPrefix(id), "", 32)
			return err
		})
		if err != nil {
			return err
		}
		err = s.Store.Update(ctx, func(tx store.Tx) error {
			for _, r := range found {
				if err := tx.Delete(r.Key); err != nil {
					return err
				}
			}
			return tx.Delete(mfpKey(id))
		})
		if err != nil || len(found) == 0 {
			return err
		}
	}
}

// findMFP reads what a device told of itself, here or, until it has checked in here, in the region that it came from.
func findMFP(at store.Getter, id string) (r mfpRecord, there bool, err error) {
	r, there, err = store.FindJSON[mfpRecord](at, mfpKey(id))
	if err != nil || there {
		return r, there, err
	}
	text, err := region.Adopted(at, id)
	if err != nil || text == nil {
		return r, false, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return mfpRecord{}, false, nil // another region's words: the device will say it anew
	}
	r.MFP.DeviceID = id
	return r, true, nil
}

// stays refuses a device that another region has.
func (s *Server) stays(ctx context.Context, id string) *problem {
	to, gone, err := s.management.Left(ctx, id)
	switch {
	case err != nil:
		return internal(err)
	case gone:
		return refuse(http.StatusMisdirectedRequest, ReasonMoved, "region "+to+" has the device; GET /device/v1/directive says where it is reached")
	}
	return nil
}
