package mfp

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
)

// Residing says how a device lives in a region. The zero value is a device that knows a management server only.
type Residing struct {
	Services       []mfpgate.HeldService // that it registers in
	ServicesURL    *url.URL              // nil: as its registration says
	RegionKeys     []ed25519.PublicKey   // that the factory gave it: of the regions whose directives it trusts
	DataEvery      time.Duration         // between two items of its data; 0: it has none
	Pinned         bool                  // it asks for no directive, whatever it is told
	Plain          bool                  // it speaks http to every server, whatever a URL says
	Redirects      bool                  // with Plain: it follows 308
	DirectiveEvery int                   // turns between two questions for a directive; 0: 20
}

func (r Residing) on() bool {
	return len(r.Services) > 0 || r.ServicesURL != nil || len(r.RegionKeys) > 0 || r.DataEvery > 0
}

const (
	usualDirectiveEvery = 20
	maxRedirects        = 3
)

// errLeft ends what goes on at a server that the device uses no more.
var errLeft = errors.New("it has a new home")

// home is which servers a device uses. Each has connections of its own, so that none is used again for another one.
type home struct {
	management *url.URL
	services   *url.URL // nil: not known
	http       *http.Client
	here       context.Context // ends when the device leaves
	leave      func()
}

// enter makes what the state says the device's home.
func (d *Device) enter() error {
	h := &home{management: d.o.Cloud, services: d.o.ServicesURL}
	if r := d.state.Residence; r != nil {
		var err error
		if r.Management != "" {
			if h.management, err = d.server(r.Management); err != nil {
				return err
			}
		}
		if r.Services != "" && (h.services == nil || r.Move != "") {
			if h.services, err = d.server(r.Services); err != nil {
				return err
			}
		}
		h.services = cmp.Or(h.services, h.management) // one listener for both roles
	}
	h.management, h.services = d.scheme(h.management), d.scheme(h.services)
	transport := d.transport()
	h.http = &http.Client{Transport: transport, CheckRedirect: d.redirect}
	here, cancel := context.WithCancel(context.Background()) // ends with leave, which Run calls at the latest
	h.here, h.leave = here, func() { cancel(); transport.CloseIdleConnections() }
	if old := d.home.Swap(h); old != nil {
		old.leave()
	}
	return nil
}

// server reads the URL of one: nothing but scheme and host.
func (d *Device) server(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("%q is no server's URL", clip(text))
	}
	return u, nil
}

func (d *Device) scheme(u *url.URL) *url.URL {
	if u == nil || !d.o.Plain {
		return u
	}
	plain := *u
	plain.Scheme = "http"
	return &plain
}

// redirect follows 308 as some models do: the same request again, to another host.
func (d *Device) redirect(req *http.Request, via []*http.Request) error {
	if !d.o.Plain || !d.o.Redirects || len(via) > maxRedirects || req.Response.StatusCode != http.StatusPermanentRedirect {
		return http.ErrUseLastResponse
	}
	req.Header.Set("Authorization", via[0].Header.Get("Authorization"))
	return nil
}

// living is what the goroutine of work remembers of the device's life in a region.
type living struct {
	turns  int
	data   int       // items that were written
	dataAt time.Time // of the next
	retry  []byte    // the item that was not taken
	notNow time.Time // before which there is no use in asking for a directive
	absent bool      // the cloud has no /device/v1
	told   map[Kind]string
}

// tellOnce tells of what has not been told before, in a row.
func (d *Device) tellOnce(e Event, about string) {
	if d.living.told == nil {
		d.living.told = map[Kind]string{}
	}
	if last, ok := d.living.told[e.Kind]; ok && last == about {
		return
	}
	d.living.told[e.Kind] = about
	if r := d.state.Residence; r != nil {
		e.Epoch, e.Region = r.Epoch, cmp.Or(e.Region, r.Region)
	}
	d.tell(e)
}

// live is the part of a turn that is of regions. was is what came of the rest.
func (d *Device) live(ctx context.Context, was error) error {
	if !d.o.on() && d.state.Residence == nil {
		return was
	}
	d.living.turns++
	astray := d.astray(was)
	routine := d.living.turns%cmp.Or(d.o.DirectiveEvery, usualDirectiveEvery) == 0
	var err error
	switch {
	case d.state.Residence != nil:
		d.acknowledge(ctx)
		err = d.use(ctx)
	case !d.living.absent || routine:
		err = d.register(ctx)
	}
	astray = d.astray(err) || astray
	if (astray || routine) && d.ask(ctx) {
		select {
		case d.nudge <- struct{}{}: // there is another home to try at once
		default:
		}
		return nil
	}
	return cmp.Or(was, err)
}

// astray reports whether what a server or the relay answered is a reason to ask for a directive, and tells of it.
func (d *Device) astray(err error) bool {
	var r *Refusal
	if !errors.As(err, &r) {
		return false
	}
	if r.Relay {
		for _, reason := range blocked {
			if r.Status == http.StatusForbidden && strings.Contains(r.Detail, string(reason)) {
				d.tellOnce(Event{Kind: Blocked, Channel: channelRegion, Status: r.Status, Reason: string(reason), Text: "the relay keeps it from where it went: " + string(reason)},
					string(reason))
				return true
			}
		}
		return false
	}
	switch {
	case r.Status == http.StatusMisdirectedRequest || r.Reason == api.Moved, r.Reason == api.NotRegistered, r.Reason == "registered-elsewhere":
		reason := cmp.Or(r.Reason, api.Moved)
		d.tellOnce(Event{Kind: Moved, Channel: channelRegion, Status: r.Status, Reason: reason, Text: "where it went is not its region: " + reason}, reason)
		return true
	}
	return false
}

// blocked are the relay's reasons that a directive may do away with.
var blocked = [...]mfpgate.Reason{mfpgate.RegionMoved, mfpgate.RegionRedirected, mfpgate.RegionName, mfpgate.RegionLiteral, mfpgate.RegionMap, mfpgate.RegionHidden}

// register enters the device in its region, once for ever.
func (d *Device) register(ctx context.Context) error {
	var brief api.HoldingBrief
	err := d.post(ctx, api.DevicesPath, rand.Text(), api.DeviceRegistration{Model: d.o.Model, Serial: d.o.Serial, Name: d.o.Name,
		Services: append([]mfpgate.HeldService{}, d.o.Services...)}, &brief)
	var r *Refusal
	switch {
	case errors.As(err, &r) && !r.Relay && r.Status == http.StatusNotFound && r.Reason != api.NotRegistered:
		d.living.absent = true
		d.tellOnce(Event{Kind: NoRegion, Status: r.Status, Text: "its cloud knows of no regions, it goes on without"}, "")
		return nil
	case err != nil:
		return err
	}
	services := d.o.ServicesURL
	if services == nil && brief.ServicesURL != "" {
		if services, err = d.server(brief.ServicesURL); err != nil {
			return fmt.Errorf("register: services: %w", err)
		}
	}
	at := residence{Registration: clip(brief.Registration), Region: clip(brief.Region), Epoch: brief.Epoch}
	if services != nil {
		at.Services = services.String()
	}
	d.living.absent, d.state.Residence = false, &at
	d.save()
	if err := d.enter(); err != nil {
		return err
	}
	d.tell(Event{Kind: Registered, Registration: at.Registration, Region: at.Region, Epoch: at.Epoch, State: string(brief.State), URL: d.home.Load().services.String(),
		Text: fmt.Sprintf("registered in region %s as %s", at.Region, at.Registration)})
	return d.use(ctx)
}

// use is a check-in at the services, and an item of data when it is time.
func (d *Device) use(ctx context.Context) error {
	at := d.home.Load().services
	r := d.state.Residence
	var brief api.HoldingBrief
	u := at.JoinPath(api.ServiceDevices, d.o.ID, "check-ins")
	if err := d.exchange(ctx, http.MethodPost, u, rand.Text(), api.ServiceCheckIn{Epoch: r.Epoch}, &brief); err != nil {
		return err
	}
	delete(d.living.told, Moved)
	delete(d.living.told, Blocked)
	// Which region answered is not the device's business: the relay may lead a pinned one elsewhere. It is told to those who watch.
	d.tellOnce(Event{Kind: Used, Channel: channelRegion, Region: clip(brief.Region), State: clip(string(brief.State)), URL: at.String(), Registration: clip(brief.Registration),
		Text: fmt.Sprintf("uses the services of region %s, which say that it is %s in epoch %d", clip(brief.Region), clip(string(brief.State)), brief.Epoch)},
		fmt.Sprint(brief.Region, brief.State, brief.Epoch, at, r.Epoch))
	return d.write(ctx)
}

// dataClasses are what a device has of its users.
var dataClasses = [...]string{"address-book", "job-log"}

const (
	itemsOfClass = 32
	maxDrain     = 30 * time.Second
)

// write stores an item if it is time. One that is not taken stays for the next turn; while the device is being moved there is one
// more try, when the services say.
func (d *Device) write(ctx context.Context) error {
	now := d.o.Clock.Now()
	if d.o.DataEvery <= 0 || now.Before(d.living.dataAt) {
		return nil
	}
	n := d.living.data
	class, name := dataClasses[n%len(dataClasses)], fmt.Sprintf("item-%d", n/len(dataClasses)%itemsOfClass)
	if d.living.retry == nil {
		d.living.retry = fmt.Appendf(nil, `{"device":%q,"number":%d,"epoch":%d,"at":%q,"text":%q}`, d.o.ID, n, d.state.Residence.Epoch,
			now.UTC().Format(time.RFC3339Nano), rand.Text())
	}
	u := d.home.Load().services.JoinPath(api.ServiceDevices, d.o.ID, "data", class, name)
	put := func() error { return d.exchange(ctx, http.MethodPut, u, "", d.living.retry, nil) }
	err := put()
	var r *Refusal
	if errors.As(err, &r) && !r.Relay && r.Status == http.StatusServiceUnavailable && r.Reason == api.Draining {
		wait := min(cmp.Or(r.RetryAfter, time.Second), maxDrain)
		d.tell(Event{Kind: Waiting, Channel: channelRegion, Status: r.Status, Reason: r.Reason, RetryMS: wait.Milliseconds(), Item: class + "/" + name,
			Text: fmt.Sprintf("is being moved: its data wait for %s", round(wait))})
		if mfpgate.Wait(ctx, d.o.Clock, d.until(wait)) != nil {
			return nil
		}
		err = put()
	}
	if err != nil {
		return err
	}
	d.living.retry = nil
	d.living.data++
	d.living.dataAt = now.Add(d.o.DataEvery)
	d.tell(Event{Kind: Stored, Channel: channelRegion, Item: class + "/" + name, URL: u.Scheme + "://" + u.Host, Epoch: d.state.Residence.Epoch,
		Text: "stored " + class + "/" + name})
	return nil
}

// settle enters the home that the state file tells of.
func (d *Device) settle() error {
	if d.o.DataEvery > 0 {
		d.living.dataAt = d.o.Clock.Now().Add(d.o.Jitter(d.o.DataEvery)) // a fleet does not write all at once
	}
	return d.enter()
}
