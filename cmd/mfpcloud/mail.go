package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/print"
	"github.com/mfpgate/mfpgate/mail"
)

// mailFlags are how the print service sends its letters.
type mailFlags struct{ server, from, tls, user, passwordFile string }

func (m *mailFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&m.server, "smtp", "", "host:port of the mail server for the print service's letters; without one its pages show what the letters would say")
	flags.StringVar(&m.from, "mail-from", "", "mail address that the letters come from")
	flags.StringVar(&m.tls, "mail-tls", "", "starttls, implicit or none; none is for a server on this machine, and the default there, starttls elsewhere")
	flags.StringVar(&m.user, "mail-user", "", "account at the mail server")
	flags.StringVar(&m.passwordFile, "mail-password-file", "", "file with the account's password")
}

// open returns nil without a server.
func (m *mailFlags) open() (print.Mailer, error) {
	if m.server == "" {
		if *m != (mailFlags{}) {
			return nil, errors.New("--mail-from and its like need --smtp")
		}
		return nil, nil
	}
	if m.from == "" {
		return nil, errors.New("--smtp needs --mail-from, the address that letters come from")
	}
	o := mail.Options{Server: m.server, From: m.from, User: m.user, TLS: mail.TLS(m.tls)}
	if host, _, err := net.SplitHostPort(m.server); o.TLS == "" && err == nil && mfpgate.Loopback(host) {
		o.TLS = mail.None
	}
	if m.passwordFile != "" {
		text, err := os.ReadFile(m.passwordFile)
		if err != nil {
			return nil, fmt.Errorf("mail password: %w", err)
		}
		o.Password = mfpgate.Secret(bytes.TrimRight(text, "\r\n"))
	}
	return mail.Open(o)
}
