package approval

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

const (
	maxText  = 256 // bytes of a text about a device or a person
	maxKey   = 128
	maxActor = 128
)

// Request asks for a registration. If the same device, service and user have an open one, that is returned and created is false.
// key makes the call idempotent for the actor; "" is no key, and a key used for another request is an error that wraps
// journal.ErrDiffers. Other errors are a *Refusal, or the store's.
func (b *Broker) Request(ctx context.Context, q mfpgate.RegistrationRequest, actor, key string) (g mfpgate.Registration, created bool, err error) {
	if len(key) > maxKey || len(actor) > maxActor {
		return g, false, refuse(BadRequest, fmt.Sprintf("The idempotency key has %d bytes, %d at most; the actor %d, %d at most.", len(key), maxKey, len(actor), maxActor))
	}
	p := *b.policy.Load()
	r, refused := b.draft(p, q)
	if refused == nil {
		refused = b.enrol(ctx, p, r, actor)
	}
	var id string
	err = b.update(ctx, func(tx store.Tx) error {
		created = false
		do := func() (string, error) {
			if refused != nil {
				return "", refused
			}
			found, err := b.create(tx, *r, actor)
			created = err == nil && found == r.ID
			return found, err
		}
		var err error
		if key == "" {
			id, err = do()
			return err
		}
		var replayed bool
		id, replayed, err = journal.Once(tx, "request/"+digest(actor), key, q, do)
		created = created && !replayed || replayed && r != nil && id == r.ID // the latter after a commit whose outcome was not known
		return err
	})
	if err != nil {
		return g, false, err
	}
	kept, err := b.read(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return g, false, refuse(NotNow, "This request was made before, and its registration ended long ago. Ask again with another idempotency key.")
	}
	if err != nil {
		return g, false, err
	}
	return kept.Registration, created, nil
}

// draft is the registration that a request would make.
func (b *Broker) draft(p Policy, q mfpgate.RegistrationRequest) (*record, error) {
	s, known := p.service(q.Service)
	if !known {
		return nil, refuse(NoService, "No print service of that name is configured. Choose one of: "+p.names()+".")
	}
	c, known := b.Site.Candidate(q.Device)
	if !known {
		return nil, refuse(NoDevice, "The gateway knows no device of that id. Look in the list of devices.")
	}
	if q.Retries != 0 && (q.Retries < MinRetries || q.Retries > MaxRetries) {
		return nil, refuse(BadRequest, fmt.Sprintf("Retries must be from %d to %d.", MinRetries, MaxRetries))
	}
	user, err := mfpgate.MailAddress(q.User)
	if err != nil {
		return nil, refuse(BadRequest, "The user must be one mail address, such as a.tanaka@example.co.jp.")
	}
	if len(q.Account) > maxText {
		return nil, refuse(BadRequest, "The account's name is too long.")
	}
	admin, err := p.admin(c, q.Admin)
	if err != nil {
		return nil, err
	}
	d := c.PrintDevice
	if d.UUID = mfpgate.CleanUUID(d.UUID); d.UUID == "" {
		return nil, refuse(NoDevice, "The device has no UUID yet. Wait until the gateway has read its attributes.")
	}
	for _, text := range []*string{&d.Name, &d.Make, &d.Model, &d.Serial, &d.Location, &d.Address} {
		*text = mfpgate.CleanText(*text, maxText)
	}
	retries := p.retries()
	if q.Retries != 0 {
		retries = q.Retries
	}
	mode := c.Mode
	if mode == "" {
		mode = mfpgate.RegistrationDelegate
	}
	now := b.now()
	return &record{Schema: schema, AskedAdmin: q.Admin, AskedTries: q.Retries, Quiet: q.Quiet, Allowed: p.deadline(), Registration: mfpgate.Registration{
		ID: mfpgate.NewID(b.Clock, "reg"), Device: d, Service: s.Name, User: user, Account: mfpgate.CleanText(q.Account, maxText), From: mfpgate.CleanText(q.From, maxText), Admin: admin,
		Mode: mode, Purpose: mfpgate.PurposeRegister, State: mfpgate.RegistrationRequested, Attempts: retries + 1, RequestedAt: now, Since: now,
		Deadline: now.Add(p.deadline()),
	}}, nil
}

// enrol sees to it that the site region knows the device of a request that nothing else stands against: one that was made for
// another region is entered there first, without its user having to do anything. Where its data are is said in the answer.
func (b *Broker) enrol(ctx context.Context, p Policy, r *record, actor string) error {
	c, known := b.Site.Candidate(r.Device.ID)
	if !known { // forgotten meanwhile; it was there a moment ago
		return nil
	}
	home := c.Home
	if c.Market != "" && !strings.EqualFold(c.Market, p.Region) && !c.Here {
		if b.Regions == nil {
			return refuse(OtherRegion, fmt.Sprintf("%s was made for region %s, and this site is in %s, whose cloud this gateway does not know. Name it in cloud, or correct the device's market.",
				mfpgate.CleanText(c.Name, maxText), mfpgate.CleanText(c.Market, 16), p.Region))
		}
		call, cancel := context.WithTimeout(ctx, EnrolTimeout)
		defer cancel()
		err := b.Regions.Enrol(call, r.Device.ID, actor)
		var no mfpgate.Refused
		switch {
		case errors.As(err, &no):
			return refuse(OtherRegion, no.Error())
		case err != nil:
			return refuse(OtherRegion, fmt.Sprintf("%s was made for region %s, and the cloud of %s cannot be asked now for its registration there (id unknown here; %v). Ask again later.",
				mfpgate.CleanText(c.Name, maxText), mfpgate.CleanText(c.Market, 16), p.Region, err))
		}
		if c, known = b.Site.Candidate(r.Device.ID); known {
			home = c.Home
		}
	}
	if home != "" && !strings.EqualFold(home, p.Region) {
		r.Advice = fmt.Sprintf("The device's data are in region %s, and stay there. They can be moved to %s: an administrator begins that under Moves on the portal, or with `mfpgate moves plan %s`.",
			mfpgate.CleanText(home, 16), p.Region, r.Device.ID)
	}
	return nil
}

// create keeps a new registration, unless the same is open; it returns the id of the one that is there then.
func (b *Broker) create(tx store.Tx, r record, actor string) (string, error) {
	switch id, err := tx.Get(r.openKey()); {
	case err == nil:
		return string(id), nil
	case !errors.Is(err, store.ErrNotFound):
		return "", err
	}
	if b.view.open() >= MaxOpen {
		return "", refuse(TooMany, fmt.Sprintf("%d registrations are open, which is as many as the gateway keeps. Ask again when some have ended.", MaxOpen))
	}
	if _, there, err := store.FindJSON[printer](tx, r.printerKey()); err != nil {
		return "", err
	} else if there && !b.allowsUser(r.Service) {
		return "", refuse(NoUserList, sentence(NoUserList))
	}
	// It is the user who is bounded and not the account: on the portal a user asks for nobody else, and an administrator who
	// brings in many devices asks for many.
	if ok, free, err := b.take(tx, "user", r.User, r.ID, MaxRequests); err != nil {
		return "", err
	} else if !ok {
		return "", tooMany(fmt.Sprintf("There were %d requests for this user in the last hour already. Ask again in %d minutes.", MaxRequests, int((free+time.Minute-1)/time.Minute)), free)
	}
	if err := errors.Join(tx.Set(r.openKey(), []byte(r.ID)), b.audit(tx, &r, actor, "requested", fmt.Sprintf("device %s, service %s, user %s, administrator %s, from %s",
		r.Device.ID, r.Service, r.User, r.Admin, r.From)), b.intend(tx, r.ID, kindDeadline, work{Registration: r.ID}, r.Allowed), b.begin(tx, &r)); err != nil {
		return "", err
	}
	if r.State == mfpgate.RegistrationFailed { // too many wait: nothing of it is kept
		return "", refuse(r.Reason, r.Detail)
	}
	return r.ID, setRecord(tx, &r)
}

func (p Policy) names() string {
	names := make([]string, 0, len(p.Services))
	for _, s := range p.Services {
		names = append(names, s.Name)
	}
	if len(names) == 0 {
		return "none is configured; name one in print_services"
	}
	return strings.Join(names, ", ")
}
