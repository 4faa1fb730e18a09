// Package registering is a simulated MFP that registers itself in a print service: it asks the service for a code, mails the
// administrator, waits for the approval and enters itself, all by broker/approval, which the gateway runs for devices that cannot.
//
// Users ask for it in two ways. At the device's panel (see Panel), which needs no gateway. Or at a gateway, from which the device gets
// the request with the user and the administrator (see Gateway), and to which it reports how far it is and how it ended.
//
// It promises that a request that it took is carried out once and its end reported until the gateway has taken it, however often
// either of the two is switched off meanwhile: what it took is stored with its own registration, and a request that is open at the
// gateway no more is cancelled here. With a store in memory a restart forgets all; the gateway then hands out what is still open, and
// the administrator gets another letter.
//
// It registers in the services that it was given and in no other, whatever a gateway says; it mails administrators of the allowed
// domains, if any are named, and otherwise those that its gateway or the person at the panel names. A failure of the network is told
// as an event and tried again, a refusal is reported. Only a store that fails ends Run.
package registering
