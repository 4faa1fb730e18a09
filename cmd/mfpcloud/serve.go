package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server"
	"github.com/mfpgate/mfpgate/cloud/server/print"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/telemetry"
)

func serveCommand() *cobra.Command {
	serve := &cobra.Command{
		Use: "serve --region jp --listen 127.0.0.1:0 --state DIR", Short: "Serve one region until SIGTERM", Args: cobra.NoArgs,
	}
	flags := serve.Flags()
	region := flags.String("region", "", "country, ISO 3166-1 alpha-2, lower case")
	level := flags.String("log-level", "info", "debug, info, warn or error; the log is on standard error")
	poll := flags.Duration("poll-interval", 5*time.Second, "what devices are told at check-in")
	push := flags.Duration("push-interval", 15*time.Second, "between heartbeats of a push channel")
	lifetime := flags.Duration("code-lifetime", print.DefaultLifetime, "how long a code that an administrator types is good")
	interval := flags.Duration("code-interval", print.DefaultInterval, "between two polls of such a code")
	public := flags.String("public-url", "", "URL under which clients and people reach the region, such as https://jp.cloud.example; default: where it listens")
	var letters mailFlags
	letters.add(serve)
	var l server.Listening
	flags.StringVar(&l.Address, "listen", "", "host:port; port 0 takes a free one, which is printed")
	flags.StringArrayVar(&l.Names, "name", nil, "one more name for the certificate; may be given again")
	flags.BoolVar(&l.Plain, "http", false, "no TLS; loopback addresses only")
	flags.StringVar(&l.Services, "service-listen", "", "host:port for the services alone; default: --listen serves both roles")
	peers := flags.StringArray("peer", nil, "a region whose invitation was accepted, and the URL of its management server: us=https://us.cloud.example; may be given again")
	var moves server.Moves
	flags.StringArrayVar(&moves.ManagementHosts, "management-host", nil, "host:port under which devices reach the management server; may be given again; default: where it listens")
	flags.StringArrayVar(&moves.ServiceHosts, "service-host", nil, "the same for the services")
	must(serve.MarkFlagRequired("region"))
	must(serve.MarkFlagRequired("listen"))
	return onFolder(serve, func(c *cobra.Command, folder *provision.Folder, _ []string) (err error) {
		if len(*region) != 2 {
			return fmt.Errorf("region %q: must be two lower-case letters, such as jp", *region)
		}
		if err := checkPublic(*public); err != nil {
			return err
		}
		if moves.Peers, err = addresses(*peers); err != nil {
			return err
		}
		moves.Connect = connect
		mailer, err := letters.open()
		if err != nil {
			return err
		}
		clock := mfpgate.SystemClock{}
		var least telemetry.Level
		if err := least.Set(*level); err != nil {
			return err
		}
		log := telemetry.NewLogger(c.ErrOrStderr(), clock, &least, false)
		facts, err := openStore(c.Context(), folder, clock, log)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, facts.Close()) }()
		s, err := server.New(server.Options{
			Region: *region, Folder: folder, Store: facts, Clock: clock, Log: log, PollInterval: *poll, PushInterval: *push,
			Mailer: mailer, CodeLifetime: *lifetime, CodeInterval: *interval, PublicURL: *public, Moves: moves,
		})
		if err != nil {
			return err
		}
		return s.Run(c.Context(), l, func(url, services string) {
			trust := ""
			if !l.Plain {
				trust = ", trusted by " + folder.CertificatePath()
			}
			if services != "" {
				fmt.Fprintf(c.OutOrStdout(), "services of %s listen on %s%s\n", *region, services, trust)
			}
			fmt.Fprintf(c.OutOrStdout(), "region %s listens on %s%s\n", *region, url, trust)
		})
	})
}

// checkPublic refuses what cannot begin an address.
func checkPublic(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || strings.Trim(u.Path, "/") != "" {
		return fmt.Errorf("public URL %q: write scheme and host alone, such as https://jp.cloud.example", text)
	}
	return nil
}
