// Command splicerelay relays TCP to one address with Go's io.Copy between two TCP connections, which is splice(2) from
// kernel to kernel. It knows no CONNECT, no limit and no log: it is what a relay costs at least.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: splicerelay LISTEN ORIGIN")
		os.Exit(2)
	}
	if err := serve(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "splicerelay:", err)
		os.Exit(1)
	}
}

func serve(address, origin string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		client, err := l.Accept()
		if err != nil {
			return err
		}
		go relay(client.(*net.TCPConn), origin) // ends with its connections; the process outlives all
	}
}

func relay(client *net.TCPConn, origin string) {
	defer client.Close()
	server, err := net.Dial("tcp", origin)
	if err != nil {
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	both.Go(func() { move(server.(*net.TCPConn), client) })
	both.Go(func() { move(client, server.(*net.TCPConn)) })
	both.Wait()
}

func move(to, from *net.TCPConn) {
	_, _ = io.Copy(to, from)
	_ = to.CloseWrite()
}
