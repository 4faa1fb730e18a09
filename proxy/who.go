package proxy

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/account"
	"github.com/mfpgate/mfpgate/proxy/devicename"
	"github.com/mfpgate/mfpgate/proxy/slots"
)

// device is who a request comes from.
type device struct {
	id   mfpgate.DeviceID
	name string
	key  slots.Key
}

// identify decides which device a request comes from. get reads the request's header fields.
func (r *Relay) identify(ctx context.Context, p *Policy, from netip.Addr, method, authority string, get func(string) (string, bool)) (device, error) {
	if !p.allowsClient(from) {
		return device{}, refuse(ClientNotAllowed)
	}
	user, err := r.authenticate(ctx, p, from, get)
	if err != nil {
		return device{}, err
	}
	if key, gateway := p.Gateways[user]; gateway && user != "" {
		if named, there := get(devicename.Header); there {
			inner, err := devicename.Verify(r.clock, key, user, method, authority, named)
			if err != nil {
				return device{}, &refusal{reason: BadDeviceName, err: err}
			}
			user = inner.Account + "/" + string(inner.Device)
			found, name, _ := r.devices.Identify(from, user)
			return device{id: found, name: name, key: slots.Key(user)}, nil
		}
	}
	id, name, known := r.devices.Identify(from, user)
	if !known && !p.AdmitUnknown {
		if p.Accounts != nil && user == "" {
			return device{}, refuse(NeedsAccount)
		}
		return device{}, refuse(UnknownDevice)
	}
	key := slots.Key(id)
	if id == "" { // not recorded: the registry is full
		key = slots.Key(cmp.Or(user, from.String()))
	}
	return device{id: id, name: name, key: key}, nil
}

// authenticate returns the account that the request proves, or none if it names none.
func (r *Relay) authenticate(ctx context.Context, p *Policy, from netip.Addr, get func(string) (string, bool)) (user string, err error) {
	field, there := get("Proxy-Authorization")
	if !there || p.Accounts == nil {
		return "", nil
	}
	user, password, err := account.ParseProxyAuthorization(field)
	if err != nil {
		return "", &refusal{reason: BadAccount, err: err}
	}
	// Who has proved the password before is not held up by another device that guesses behind the same NAT.
	if p.Accounts.Remembered(user, password) {
		return user, nil
	}
	if wait := r.throttle.Begin(from); wait > 0 {
		return "", &refusal{reason: AccountThrottled, retryAfter: wait.Truncate(time.Second) + time.Second}
	}
	good, err := p.Accounts.Verify(ctx, user, password)
	r.throttle.End(from, !good && err == nil)
	if err != nil {
		return "", first(ctx, err)
	}
	if !good {
		return "", &refusal{reason: BadAccount, err: errors.New("wrong password for " + strings.ToValidUTF8(user, "?"))}
	}
	return user, nil
}
