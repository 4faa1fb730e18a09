package mfp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
)

// ackTimeout is how long the server that the device leaves may keep it from its new one.
const ackTimeout = 15 * time.Second

// ask asks the management server for a directive, and reports whether the device has followed one.
func (d *Device) ask(ctx context.Context) bool {
	if d.o.Pinned || d.living.absent || d.o.Clock.Now().Before(d.living.notNow) {
		return false
	}
	var doc api.SignedDirective
	err := d.exchange(ctx, http.MethodGet, d.home.Load().management.JoinPath(api.DirectivePath), "", nil, &doc)
	var r *Refusal
	switch {
	case errors.As(err, &r) && !r.Relay && r.Status == http.StatusNotFound:
		return false // none yet
	case err != nil:
		d.astray(err)
		return false
	}
	directive, err := d.trusted(doc.Signed)
	switch {
	case errors.Is(err, errKnown):
		return false
	case err != nil:
		d.tellOnce(Event{Kind: DirectiveRefused, Channel: channelRegion, Text: "follows no directive: " + err.Error()}, err.Error())
		return false
	}
	if wait := directive.NotBefore.Sub(d.o.Clock.Now()); wait > 0 {
		d.living.notNow = directive.NotBefore
		return false
	}
	return d.follow(ctx, directive)
}

// errKnown says that the device goes by this directive already.
var errKnown = errors.New("it goes by this one already")

// trusted returns a directive if it is signed by a region that the factory named, is for this device and newer than what it goes by,
// and leads to servers.
func (d *Device) trusted(signed string) (mfpgate.Directive, error) {
	var v mfpgate.Directive
	if len(d.o.RegionKeys) == 0 {
		return v, errors.New("the factory gave it no key of a region (--region-key)")
	}
	if err := jws.Open(d.o.RegionKeys, api.PurposeDirective, signed, &v); err != nil {
		return v, err
	}
	epoch, move := uint64(0), mfpgate.MoveID("")
	if r := d.state.Residence; r != nil {
		epoch, move = r.Epoch, r.Move
	}
	management, err := d.server(v.Management)
	services, err2 := d.server(v.Services)
	switch {
	case v.MFP != d.o.ID:
		return v, fmt.Errorf("it is for %q", clip(v.MFP))
	case v.Epoch == epoch && v.Move == move && move != "":
		return v, errKnown
	case v.Epoch <= epoch:
		return v, fmt.Errorf("its epoch is %d, and the device's %d", v.Epoch, epoch)
	case v.Move == "" || v.Region == "":
		return v, errors.New("it names no move or no region")
	case err != nil:
		return v, err
	case err2 != nil:
		return v, err2
	}
	from := d.home.Load().management
	for _, to := range []*url.URL{management, services} {
		if from.Scheme == "https" && to.Scheme != "https" {
			return v, fmt.Errorf("it leads from https to %s", to)
		}
	}
	return v, nil
}

// follow stores a directive before anybody hears of it: a device that is switched off in between goes by it when it comes back, and
// acknowledges it then.
func (d *Device) follow(ctx context.Context, v mfpgate.Directive) bool {
	was := d.state.Residence
	next := residence{Region: v.Region, Epoch: v.Epoch, Management: v.Management, Services: v.Services, Move: v.Move, AckTo: d.home.Load().management.String()}
	if was != nil {
		next.Registration = was.Registration
	}
	d.state.Residence = &next
	if err := saveState(d.o.State, d.state); err != nil {
		d.state.Residence = was
		d.tellOnce(Event{Kind: StateTrouble, Text: "cannot keep a directive, and does not go by it: " + err.Error()}, err.Error())
		return false
	}
	d.tell(Event{Kind: Redirected, Channel: channelRegion, Region: v.Region, Epoch: v.Epoch, URL: v.Services,
		Text: fmt.Sprintf("is of region %s from now on, in epoch %d", v.Region, v.Epoch)})
	d.acknowledge(ctx)
	if err := d.enter(); err != nil { // trusted has read the URLs
		d.tellOnce(Event{Kind: DirectiveRefused, Text: err.Error()}, err.Error())
		return false
	}
	d.plan, d.settled, d.living.turns = nil, false, 0
	return true
}

// acknowledge tells the server that gave a directive that the device goes by it, until that server or the relay will not hear it.
func (d *Device) acknowledge(ctx context.Context) {
	r := d.state.Residence
	if r.AckTo == "" {
		return
	}
	to, err := d.server(r.AckTo)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, ackTimeout)
		err = d.exchange(ctx, http.MethodPost, to.JoinPath(api.DirectiveAckPath), string(r.Move), api.DirectiveAck{Move: r.Move, Epoch: r.Epoch}, nil)
		cancel()
	}
	var no *Refusal
	final := errors.As(err, &no) && !no.passing() && no.Status != http.StatusUnauthorized && (!no.Relay || no.Status == http.StatusForbidden)
	if err != nil && !final {
		d.tellOnce(Event{Kind: AckPending, Channel: channelRegion, URL: r.AckTo, Text: "could not acknowledge its directive yet: " + err.Error()}, r.AckTo)
		return
	}
	if final {
		d.tell(Event{Kind: AckPending, Channel: channelRegion, URL: r.AckTo, Status: no.Status, Text: "will not acknowledge its directive: " + no.Error()})
	}
	delete(d.living.told, AckPending)
	r.AckTo = ""
	d.save()
}
