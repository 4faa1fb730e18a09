// Package region moves a device's home from one region to another: the saga that the target region's management server runs.
//
// It promises that a move is either carried out or taken back, whatever crashes, is lost or comes twice: each step is an intent in
// the store, an order that its receiver knows by move and step, and a result in one transaction with the next intent. The one
// moment that decides is the commit, a transaction of the store: before it every refusal, deadline or administrator's abort has all
// taken back, after it all that is left is done until it succeeds. A device has one open move, and an id is never used again.
//
// It refuses a move whose plan is not true any more, or shows what stands in its way, with a mfpgate.Refused that says what to do.
// It believes no region: an answer of the wrong state, epoch, id or digest takes a move back, or after the commit is shown and asked
// for again.
//
// It fails softly: a region that cannot be reached is asked again, eight times before the commit and for ever after it.
//
// Its parts are folders: holding is what a region's services keep of a device and how they obey an order, route is the gateway's
// side, regiontest plays all of them against each other.
//
// Keys, in the view of the store that it is given: move/ (records), gone/ (ids of those that were swept), open/ (the open move of a
// device), staged/ (the source's data of the device until the commit), feed/ and feedhead/ (what gateways follow), and those of
// package journal.
package region
