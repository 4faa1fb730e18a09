// Package route is the gateway's side of moves: which devices are at home in another region than the site's, what is done about it,
// and where the relay lets each device go.
package route
