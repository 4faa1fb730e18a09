// Package approval registers devices in print services with an administrator's approval (RFC 8628), for users who ask for it.
//
// It promises: a registration that was accepted ends, whatever crashes, by its deadline (and the quarter of an hour that a late
// approval is given to be carried out). A device is one printer at a service however many users ask, however often the gateway dies, because there is one
// registration of a device at a time, what was registered is remembered, and the calls are idempotent. Each state is committed
// before the effect that it stands for, and each effect is an intent of store/journal. The administrator gets one letter for each
// code, one more for each crash at most. N retries mean N+1 codes that count; a code whose letter waited for the mail server until
// it expired does not count, nor does one whose grant was lost, of which there may be three.
//
// It refuses, with a Refusal that says why and what to do: unknown devices and services, devices of another market that the site region does not take up,
// administrators outside the allowed domains, more than five requests for one user in an hour, and a page for the code on a host that the service was not
// configured with. It never mails anybody outside the allowed domains, but for administrators that the configuration names while it names no domains.
//
// It fails softly: what the network does (no answer, a proxy's page, a 5xx) says nothing about a code and costs no attempt. Run
// returns an error only if the store cannot be followed.
//
// The poller is its own, because those of the libraries live in memory: they die with the process and with the first 502. A poll
// is one row, due a delay after it was written, so that a clock set back does not stop it. It is written again when an answer changes what the next
// poll must know, and not with each that nobody has decided: after a restart all are due, and are spread over their interval, as first
// polls are. Where a service pushes, its event only hastens the poll.
//
// Keys, beside the journal's:
//
//	registration/<id>      a registration; secrets in it are sealed, and erased when it ends
//	open/<digest>          the open registration of (device, service, user)
//	turn/<digest>          which registration may enter the device in the service, and who waits
//	printer/<digest>       a device that is registered in a service: id, certificate, sealed key
//	device/<id>            what a device of mode agent has to do
//	limit/<who>/<digest>   requests for a user, letters to an administrator in the last hour
//	digest/<digest>        whose letters wait for an administrator's next hour
package approval
