package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon"
)

func configFlag(c *cobra.Command) *string {
	return c.Flags().String("config", defaultConfig, "the configuration file")
}

func (p *process) serve() *cobra.Command {
	c := &cobra.Command{Use: "serve", Short: "Run the gateway", Args: cobra.NoArgs}
	file := configFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		d, err := daemon.New(c.Context(), daemon.Options{ConfigFile: *file, Clock: mfpgate.SystemClock{}, Output: p.out, Getenv: p.getenv,
			Signals: p.signals, Build: build()})
		if err != nil {
			return failed(err)
		}
		return failed(d.Run(c.Context()))
	}
	return c
}

func (p *process) check() *cobra.Command {
	c := &cobra.Command{Use: "check", Short: "Say whether the configuration is good", Args: cobra.NoArgs}
	file := configFlag(c)
	c.RunE = func(*cobra.Command, []string) error {
		if err := daemon.Check(*file); err != nil {
			// The errors alone, as F:line:col: key: rule; fix, for editors to jump to.
			fmt.Fprintln(p.err, err)
			return &exit{code: refused}
		}
		fmt.Fprintf(p.out, "%s: good\n", *file)
		return nil
	}
	return c
}

func (p *process) version() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Say what this is", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		b := build()
		fmt.Fprintf(p.out, "mfpgate %s %s %s\n", b.Version, b.Revision, b.GoVersion)
		return nil
	}}
}
