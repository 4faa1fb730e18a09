package control

import (
	"context"
	"fmt"
	"net"
)

// Caller is who makes a request, for the audit and for the administrator who is asked.
type Caller struct {
	Actor   string // for the audit
	Account string // of the portal; "" is none
	From    string // address; may be ""
}

type callerKey struct{}

// WithCaller says who makes the requests of a context. Whoever serves the API elsewhere than on the socket calls it.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf says who makes a request; a context that nobody prepared says no more than that it was over the API.
func CallerOf(ctx context.Context) Caller {
	if c, ok := ctx.Value(callerKey{}).(Caller); ok {
		return c
	}
	return Caller{Actor: "api"}
}

// WithPeer names the user on the other side of the socket, as the kernel knows it.
func WithPeer(ctx context.Context, c net.Conn) context.Context {
	socket, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	peer, err := credentials(socket)
	if err != nil {
		return ctx // it has gone
	}
	return WithCaller(ctx, Caller{Actor: fmt.Sprintf("cli:%d", peer.Uid)})
}
