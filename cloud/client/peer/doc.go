// Package peer is a region's side of the wire to another region, or to its own when its roles run apart: to the management server,
// which finds devices and takes a move's orders, and to the services, which hold what devices have and take the other orders.
//
// It promises what the package client does: every call ends within its timeout, an answer is read to a bound only, no redirect is
// followed, and each role's credential goes to that role's calls alone. On top it holds an answer against the question: one that
// speaks of another device, country, region or move than was asked for, that has a state or a digest that there is not, or that
// brings a receipt without the region's own signature, is client.ErrAnswer with reason Confused, and nothing of it is used. Such a region
// would answer so again: it is mfpgate.ErrRefused too.
//
// It fails with *client.Error for a refusal. Its Reason is what a caller acts upon (api.Fenced, api.OutOfTurn, api.NotRegistered);
// one that wraps mfpgate.ErrRefused will come again. A credential that is not taken is none of these: somebody can mend it while
// the caller tries again, so it is ErrCredential and says what to do. All else is of the network, or ErrAnswer.
package peer
