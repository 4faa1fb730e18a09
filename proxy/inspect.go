package proxy

import (
	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/hello"
	"github.com/mfpgate/mfpgate/proxy/tunnel"
)

// inspect holds the client's first bytes against the rule: a TLS client that asks for another server than its CONNECT
// named would carry the rule's permission elsewhere. With Routes it also judges the other server, which must be one that
// the device may reach as it stands, under every rule: else a front that both regions share would lead into the wrong one.
//
// What it cannot see: a name inside an encrypted ClientHello (the outer one is judged), the true server of a client that
// names none, and TLS that begins behind other bytes.
func (x *exchange) inspect(rule mfpgate.AllowRule) tunnel.Inspect {
	routes := x.record.relay.Routes
	strict := !rule.AnySNI || rule.TLSOnly
	if !strict && routes == nil {
		return nil
	}
	// A rule that judges no hello lets a malformed one pass, but not of a device whose region was changed: its server may
	// read what this parser does not.
	must := func() bool {
		return strict || routes.Route(x.device.id, x.host, x.port, true).Epoch > 0
	}
	return func(first []byte, final bool) (bool, error) {
		got, state := hello.Parse(first)
		switch state {
		case hello.NeedMore:
			if final && must() {
				return false, refuse(BadHello)
			}
			return final, nil
		case hello.NotTLS:
			if rule.TLSOnly {
				return false, refuse(NotTLS)
			}
			return true, nil
		case hello.Hello:
		default:
			if must() {
				return false, refuse(BadHello)
			}
			return true, nil
		}
		if !got.HasServerName {
			return true, nil
		}
		named, err := mfpgate.ParseHost(got.ServerName)
		if err == nil && named == x.host {
			return true, nil
		}
		if err == nil && routes != nil {
			if err := x.record.relay.crossings.name(x, named); err != nil {
				return false, err
			}
		}
		if !rule.AnySNI {
			return false, refuse(SNIMismatch)
		}
		if err != nil && must() {
			return false, refuse(BadHello)
		}
		return true, nil
	}
}
