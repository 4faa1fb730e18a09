package ipp_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery/ipp"
)

// BenchmarkStatus reads the status from a printer that answers as CUPS's does. Its figures count the printer's side, too, which
// is a few system calls per read.
func BenchmarkStatus(b *testing.B) {
	body, err := os.ReadFile("testdata/status.ipp")
	if err != nil {
		b.Fatal(err)
	}
	answer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
	var bytes atomic.Int64
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	go func() { // ends with the listener
		request := make([]byte, 4096)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			n, _ := conn.Read(request) // header and body are one write of the client
			conn.Write(answer)
			more, _ := io.Copy(io.Discard, conn)
			bytes.Add(int64(n) + more + int64(len(answer)))
			conn.Close()
		}
	}()
	endpoint := mfpgate.Endpoint{Protocol: mfpgate.ProtocolIPP, Address: listener.Addr().(*net.TCPAddr).AddrPort(), Path: "ipp/print"}
	client, _ := newClient(b)
	b.ReportAllocs()
	start := processor(b)
	for b.Loop() {
		if _, err := client.Read(b.Context(), endpoint, mfpgate.PartStatus); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(processor(b)-start)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(bytes.Load())/float64(b.N), "wire-B/op")
}

// BenchmarkDecode decodes each recorded answer.
func BenchmarkDecode(b *testing.B) {
	for _, path := range recorded(b) {
		body, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(path, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := ipp.DecodeForTest(body, everything); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// processor is the processor time that this process has used, in nanoseconds.
func processor(b *testing.B) int64 {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}
