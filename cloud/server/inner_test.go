package server_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// An outer gateway may propose starts of deliveries behind it, within what the inner one's contract allows too.
func TestInnerContractBindsOuterGateway(t *testing.T) {
	d := crowded(t, 4, "outer", "inner")
	d.contract("outer", func(c *api.Contract) { c.MaxMove = api.Duration(3 * time.Hour) })
	for _, c := range []struct {
		rule    string
		mode    string
		service []string
		most    time.Duration
		apply   bool
		want    string
	}{
		{"auto in both", "auto", []string{api.ServiceDelivery}, 0, true, "c3 applied 2"},
		{"the inner one's people decide", "propose", []string{api.ServiceDelivery}, 0, true, "c3 rejected  not-in-contract"},
		{"and may be asked", "propose", []string{api.ServiceDelivery}, 0, false, "c3 pending"},
		{"nothing but reports", "notify", []string{api.ServiceDelivery}, 0, false, "c3 rejected  not-in-contract"},
		{"no such service", "auto", nil, 0, true, "c3 rejected  not-in-contract"},
		{"the smaller of the longest moves", "auto", []string{api.ServiceDelivery}, 10 * time.Minute, true, "c3 rejected  max-move"},
	} {
		d.contract("inner", func(k *api.Contract) { k.Mode, k.Services, k.MaxMove = c.mode, c.service, api.Duration(c.most) })
		got := d.propose("outer", proposal("p", c.apply, move(3, 15*time.Minute)), "?dryRun=true")
		if diff := cmp.Diff([]string{c.want}, states(decode[api.ProposalState](t, got))); got.status != 200 || diff != "" {
			t.Errorf("%s: %d %s", c.rule, got.status, diff)
		}
	}
}
