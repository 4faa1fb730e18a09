package agent

import (
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/account"
)

// who is the device that asks.
type who struct {
	device mfpgate.DeviceID
	from   netip.Addr
}

// known serves devices alone.
func (d *door) known(serve func(http.ResponseWriter, *http.Request, who)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		found, no := d.identify(r)
		if no.status != 0 {
			d.refuse(w, r, "", no)
			return
		}
		serve(w, r, found)
	}
}

// identify decides who asks. A password that is wrong is never made good by an address.
func (d *door) identify(r *http.Request) (who, refusal) {
	var from netip.Addr
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		from = at.Addr().Unmap().WithZone("")
	}
	needs := refusal{status: http.StatusUnauthorized, reason: needsAccount, challenge: true,
		detail: "a device proves who it is by its account of relay.accounts, or by the address of its entry in devices.static if that has no account"}
	fields := r.Header.Values("Authorization")
	if len(fields) == 0 {
		if id, ok := d.Devices.ByAddress(from); ok {
			return who{id, from}, refusal{}
		}
		return who{}, needs
	}
	accounts := d.Devices.Accounts()
	if accounts == nil {
		needs.detail = "the gateway has no device accounts; name a file of them in relay.accounts"
		return who{}, needs
	}
	wrong := refusal{status: http.StatusUnauthorized, reason: badAccount, challenge: true, detail: "the account or its password is wrong"}
	name, password, err := account.ParseProxyAuthorization(fields[0]) // the two headers have one form (RFC 9110 §11.6.2, §11.7.2)
	if err != nil || len(fields) > 1 {
		return who{}, wrong
	}
	// Who has proved the password before is not held up by another device that guesses behind the same NAT.
	if !accounts.Remembered(name, password) {
		if wait := d.limiter.Begin(from); wait > 0 {
			seconds := strconv.Itoa(int(wait.Truncate(time.Second)/time.Second) + 1)
			return who{}, refusal{status: http.StatusTooManyRequests, reason: throttled, after: seconds,
				detail: "too many wrong passwords came from this address; try again in " + seconds + " s"}
		}
		good, err := accounts.Verify(r.Context(), name, password)
		d.limiter.End(from, !good && err == nil)
		if err != nil {
			return who{}, refusal{status: http.StatusServiceUnavailable, reason: busy, after: "1", detail: "the password was not looked at; try again", cause: err}
		}
		if !good {
			return who{}, wrong
		}
	}
	id, ok := d.Devices.ByAccount(name)
	if !ok {
		return who{}, refusal{status: http.StatusForbidden, reason: unknownDevice,
			detail: "the account is no device's; give it to one in devices.static"}
	}
	return who{id, from}, refusal{}
}
