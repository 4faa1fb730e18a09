// Command oauthhost holds device authorizations with golang.org/x/oauth2, a goroutine each, as a program without a poller of its
// own would: the peer of our durable one. POST /free collects garbage; the codes live in memory alone.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"

	"golang.org/x/oauth2"
)

func main() {
	issuer := flag.String("issuer", "", "`URL` of the authorization server")
	count := flag.Int("count", 500, "how many codes")
	door := flag.String("debug", "127.0.0.1:0", "`address` of POST /free")
	flag.Parse()
	ctx := context.Background()
	config := &oauth2.Config{ClientID: "bench", Scopes: []string{"print.register"}, Endpoint: oauth2.Endpoint{
		DeviceAuthURL: *issuer + "/oauth/device_authorization", TokenURL: *issuer + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams}}
	for range *count {
		go func() { // ends with the process
			verifier := oauth2.GenerateVerifier()
			code, err := config.DeviceAuth(ctx, oauth2.S256ChallengeOption(verifier))
			if err == nil {
				_, err = config.DeviceAccessToken(ctx, code, oauth2.VerifierOption(verifier))
			}
			fmt.Fprintln(os.Stderr, "oauthhost: a code ended:", err)
		}()
	}
	http.HandleFunc("POST /free", func(http.ResponseWriter, *http.Request) { debug.FreeOSMemory() })
	fmt.Fprintln(os.Stderr, "oauthhost:", http.ListenAndServe(*door, nil))
	os.Exit(1)
}
