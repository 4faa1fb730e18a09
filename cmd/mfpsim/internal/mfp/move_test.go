package mfp_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
	"github.com/mfpgate/mfpgate/cloud/client"
	"github.com/mfpgate/mfpgate/cloud/client/peer"
	roles "github.com/mfpgate/mfpgate/cloud/server/region"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/internal/mfp"
)

// connect has regions call each other as mfpcloud has them.
func connect(p roles.Peering) (*roles.Link, error) {
	to, err := peer.Open(peer.Options{Region: p.Region, ManagementURL: p.ManagementURL, ServicesURL: p.ServicesURL, ManagementToken: p.ManagementToken,
		ServicesToken: p.ServicesToken, Keys: p.Keys, RootCAs: p.RootCAs, Clock: p.Clock})
	if err != nil {
		return nil, err
	}
	s := to.Services()
	return &roles.Link{Services: s, Management: to.Management(), Register: s.Register, Send: s.Send, Hosts: to.Hosts, Close: to.Close}, nil
}

// TestMovesBetweenRealRegions has two regions, the client of a gateway at each, and a device that is moved there and back.
func TestMovesBetweenRealRegions(t *testing.T) {
	regions := servertest.Peers(t, servertest.Pairing{Connect: connect, Apart: true})
	s := &site{events: make(chan mfp.Event, 10_000)}
	cloud, err := url.Parse(regions["jp"].URL)
	must(t, err)
	s.options = mfp.Options{
		Cloud: cloud, RootCAs: x509.NewCertPool(), Token: regions["jp"].Device(t, device), ID: device, Model: "SIM-100", Serial: "SIM000001", Firmware: "1.0",
		Poll: 30 * time.Millisecond, State: filepath.Join(t.TempDir(), "mfp-1.json"), Clock: mfpgate.SystemClock{},
		Jitter: func(bound time.Duration) time.Duration { return min(bound, 20*time.Millisecond) },
		Notify: func(e mfp.Event) { s.events <- e },
	}
	s.options.Services = []mfpgate.HeldService{{ID: "document-cloud", Children: []string{"translate"}}}
	s.options.DataEvery = 10 * time.Millisecond
	gateways := map[string]*client.Moves{}
	for name, r := range regions {
		pem, err := os.ReadFile(r.Folder.CertificatePath())
		must(t, err)
		s.options.RootCAs.AppendCertsFromPEM(pem)
		text, err := r.Folder.PublicKey()
		must(t, err)
		key, err := jws.ParseKey(text)
		must(t, err)
		s.options.RegionKeys = append(s.options.RegionKeys, key)
		c, err := client.New(client.Options{URL: r.URL, Gateway: "osaka-" + name, Token: r.Gateway(t, "osaka-"+name), RootCAs: r.Roots, Clock: mfpgate.SystemClock{}})
		must(t, err)
		t.Cleanup(c.Close)
		_, err = c.PutDevice(t.Context(), api.Device{DeviceID: "dev_1", Model: "SIM-100", Serial: "SIM000001", MonitoringMode: "proxy"}, "")
		must(t, err)
		gateways[name] = c.Moves(name, []ed25519.PublicKey{key})
	}
	defer s.run(t)()
	if e := s.await(t, mfp.Used); e.Region != "jp" || e.State != "active" || e.URL != regions["jp"].Services {
		t.Fatalf("uses %+v", e)
	}
	for range 2 { // of each class of data: a plan is not true any more when there is a class that it does not name
		s.await(t, mfp.Stored)
	}
	moveTo(t, s, gateways["us"], "us", 2)
	moveTo(t, s, gateways["jp"], "jp", 3)
}

func moveTo(t *testing.T, s *site, gateway *client.Moves, to string, epoch uint64) {
	t.Helper()
	ctx := t.Context()
	plan, err := gateway.Plan(ctx, mfpgate.MoveRequest{Device: "dev_1", To: to})
	must(t, err)
	if len(plan.Blockers) > 0 || plan.Epoch != epoch || plan.MFP != device || len(plan.Data) == 0 {
		t.Fatalf("planned %+v", plan)
	}
	move, err := gateway.Start(ctx, mfpgate.MoveRequest{Device: "dev_1", To: to, Plan: plan.Hash}, "it@example.co.jp", "")
	must(t, err)
	probed, switched := false, false
	for cursor := ""; !move.State.Ended(); {
		changes, next, err := gateway.Changes(ctx, cursor)
		must(t, err)
		cursor = next
		for _, c := range changes {
			if c.ID == move.ID {
				move = c
			}
		}
		if move.Step == mfpgate.StepVerify && !probed {
			probed = true
			must(t, gateway.Probed(ctx, move.ID, []mfpgate.NameProbe{{Name: "s.example", Host: "s.example:443", Detail: "no such name"}}, nil))
		}
		if move.State.Committed() && !switched {
			switched = true
			must(t, gateway.Switched(ctx, move.ID, epoch, mfpgate.Seen{"osaka/route": 1}))
		}
	}
	if move.State != mfpgate.MoveDone || move.Epoch != epoch || move.Receipt == nil || move.ConfirmedAt.IsZero() || move.AckedAt.IsZero() {
		t.Errorf("ended as %+v", move)
	}
	for e := s.await(t, mfp.Used); e.Region != to || e.Epoch != epoch; e = s.await(t, mfp.Used) {
	}
	s.await(t, mfp.Stored)
	homes, err := gateway.Residences(ctx)
	if err != nil || len(homes) != 1 || homes[0].Home != to || homes[0].State != mfpgate.ResidenceHome {
		t.Errorf("residences %+v, %v", homes, err)
	}
	if hosts, err := gateway.Hosts(ctx); err != nil || len(hosts) != 2 || hosts[0].Region != to {
		t.Errorf("hosts %+v, %v", hosts, err)
	}
}
