package mail_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/mail"
)

// TestASlowServerEndsWithTheContext has servers that take a connection and then say nothing, a greeting without end, or nothing after the
// letter: each holds a sender for as long as its context lasts.
func TestASlowServerEndsWithTheContext(t *testing.T) {
	for _, c := range []struct {
		rule string
		talk func(net.Conn, <-chan struct{})
	}{
		{"it says nothing", func(_ net.Conn, end <-chan struct{}) { <-end }},
		{"it greets for ever", func(conn net.Conn, _ <-chan struct{}) {
			for {
				if _, err := io.WriteString(conn, "220-welcome\r\n"); err != nil {
					return
				}
			}
		}},
		{"it says nothing after the letter", func(conn net.Conn, end <-chan struct{}) {
			_, _ = io.WriteString(conn, "220 slow\r\n")
			lines := bufio.NewScanner(conn)
			for lines.Scan() {
				switch word := strings.ToUpper(strings.Fields(lines.Text() + " x")[0]); word {
				case "EHLO":
					_, _ = io.WriteString(conn, "250 slow\r\n")
				case "DATA":
					_, _ = io.WriteString(conn, "354 go on\r\n")
				case ".":
					<-end
					return
				case "MAIL", "RCPT", "NOOP", "RSET":
					_, _ = io.WriteString(conn, "250 ok\r\n")
				}
			}
		}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			end, ended := make(chan struct{}), make(chan struct{})
			go func() { // awaited below
				defer close(ended)
				conn, err := l.Accept()
				if err == nil {
					c.talk(conn, end)
					_ = conn.Close()
				}
			}()
			defer func() { close(end); _ = l.Close(); <-ended }()
			s, err := mail.Open(mail.Options{Server: l.Addr().String(), From: "mfpgate@example.jp", TLS: mail.None})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			begun := time.Now()
			if err := s.Send(ctx, letter()); err == nil {
				t.Error("it was sent")
			}
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}
