// Command goproxyhost is goproxy as it comes: every CONNECT is accepted, nothing is logged, counted or limited.
package main

import (
	"fmt"
	"net/http"
	"os"

	"github.com/elazarl/goproxy"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: goproxyhost LISTEN")
		os.Exit(2)
	}
	proxy := goproxy.NewProxyHttpServer()
	proxy.ConnectDial = nil // not through the environment's proxy
	proxy.OnRequest().HandleConnectFunc(func(host string, _ *goproxy.ProxyCtx) (*goproxy.ConnectAction, string) {
		return goproxy.OkConnect, host
	})
	if err := http.ListenAndServe(os.Args[1], proxy); err != nil {
		fmt.Fprintln(os.Stderr, "goproxyhost:", err)
		os.Exit(1)
	}
}
