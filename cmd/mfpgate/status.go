package main

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate/daemon/control"
)

func (p *process) status() *cobra.Command {
	c := &cobra.Command{Use: "status", Short: "Show the running gateway in one look", Args: cobra.NoArgs}
	r := p.remote(c).shows(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var s control.Status
		return r.show(c.Context(), "status", &s, func(w io.Writer) { printStatus(w, s) })
	}
	return c
}

func printStatus(out io.Writer, s control.Status) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	line("site", "%s (%s) %s", s.Site.Name, s.Site.Region, s.Site.Location)
	line("version", "%s, since %s", s.Version, s.StartedAt.Local().Format(time.DateTime))
	line("relay", "%v", s.Relay.Listen)
	line("devices", "%d served of %d, %d waiting", s.Relay.Served, s.Relay.Capacity, s.Relay.Queued)
	line("connections", "%d of %d, %d tunnels", s.Relay.Connections, s.Relay.ConnectionsLimit, s.Relay.Tunnels)
	line("store", "%d MiB free", s.Store.FreeBytes>>20)
	line("config", "%s, loaded %s", s.Config.File, s.Config.LoadedAt.Local().Format(time.DateTime))
	for _, key := range s.Off {
		line("off", "%s", key)
	}
	for _, d := range s.Degraded {
		line("DEGRADED", "%s: %s", d.Reason, d.Text)
	}
	_ = w.Flush()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
