// Command oidcserver is the example server of github.com/zitadel/oidc with what the example's own command lacks: a client that may
// use the device grant, and tokens that its other endpoints take. A test chooses the lifetime of codes. All that answers is zitadel's.
// It listens on a loopback port, prints its issuer and ends with its standard input.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const clientID = "device"

// store is the example's, but for what is said above.
type store struct {
	*storage.Storage
	users    storage.UserStore
	lifetime time.Duration
}

// GetClientByClientID makes the example's confidential device client a public one (RFC 6749 §2.1).
func (s store) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.Storage.GetClientByClientID(ctx, id)
	if err == nil && id == clientID {
		c = public{c}
	}
	return c, err
}

// StoreDeviceAuthorization has codes expire sooner than the example's five minutes; it still tells the client of those.
func (s store) StoreDeviceAuthorization(ctx context.Context, client, device, user string, expires time.Time, scopes []string) error {
	if s.lifetime > 0 {
		expires = time.Now().Add(s.lifetime)
	}
	return s.Storage.StoreDeviceAuthorization(ctx, client, device, user, expires, scopes)
}

// CompleteDeviceAuthorization has the token be of the user's id, by which the example looks for users; it gives their name.
func (s store) CompleteDeviceAuthorization(ctx context.Context, code, name string) error {
	if u := s.users.GetUserByUsername(name); u != nil {
		name = u.ID
	}
	return s.Storage.CompleteDeviceAuthorization(ctx, code, name)
}

type public struct{ op.Client }

func (public) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethodNone }
func (public) ApplicationType() op.ApplicationType { return op.ApplicationTypeNative }

func main() {
	lifetime := flag.Duration("lifetime", 0, "of a code; 0: the example's")
	flag.Parse()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	issuer := fmt.Sprintf("http://%s/", listener.Addr())
	storage.RegisterClients(storage.DeviceClient(clientID, "secret"))
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	users := storage.NewUserStore(issuer)
	handler := exampleop.SetupServer(issuer, store{storage.NewStorage(users), users, *lifetime}, logger, false)
	fmt.Println(issuer)
	go func() { log.Fatal(http.Serve(listener, handler)) }()
	_, _ = io.Copy(io.Discard, os.Stdin)
}
