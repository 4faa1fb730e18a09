package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/daemon"
)

func configFlag(c *cobra.Command) *string {
	return c.Flags().String("config", defaultConfig, "the configuration file")
}

func (p *process) serve() *cobra.Command {
	c := &cobra.Command{Use: "serve", Short: "Run the gateway", Args: cobra.NoArgs}
	file := configFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if p.getenv("GOGC") == "" {
			// A small box has more time than memory: collect sooner than Go would, which keeps ten thousand idle tunnels
			// within 10 KiB each.
			debug.SetGCPercent(60)
		}
		d, err := daemon.New(c.Context(), daemon.Options{ConfigFile: *file, Clock: p.clock, Output: p.out, Getenv: p.getenv,
			Signals: p.signals, Build: build()})
		if err != nil {
			return failed(err)
		}
		log.SetFlags(0)
		log.SetOutput(d.Noise())
		return failed(d.Run(c.Context()))
	}
	return c
}

func (p *process) check() *cobra.Command {
	c := &cobra.Command{Use: "check", Short: "Say whether the configuration is good", Args: cobra.NoArgs}
	file := configFlag(c)
	asJSON := c.Flags().Bool("json", false, "print the errors as objects")
	c.RunE = func(*cobra.Command, []string) error {
		err := daemon.Check(*file)
		if *asJSON {
			return p.checked(err)
		}
		if err != nil {
			// The errors alone, as F:line:col: key: rule; fix, for editors to jump to.
			fmt.Fprintln(p.err, err)
			return &exit{code: refused}
		}
		fmt.Fprintf(p.out, "%s: good\n", *file)
		return nil
	}
	return c
}

// checked prints what is wrong as {"items": [...]}, for programs.
func (p *process) checked(err error) error {
	type item struct {
		File   string `json:"file"`
		Line   int    `json:"line"`
		Column int    `json:"column"`
		Key    string `json:"key"`
		Rule   string `json:"rule"`
		Fix    string `json:"fix"`
	}
	items := []item{}
	if all, ok := errors.AsType[config.Errors](err); ok {
		for _, e := range all {
			items = append(items, item(e))
		}
	} else if err != nil {
		items = append(items, item{Rule: err.Error()})
	}
	if bad := json.NewEncoder(p.out).Encode(map[string][]item{"items": items}); bad != nil {
		return bad
	}
	if len(items) > 0 {
		return &exit{code: refused}
	}
	return nil
}

func (p *process) version() *cobra.Command {
	c := &cobra.Command{Use: "version", Short: "Say what this is", Args: cobra.NoArgs}
	asJSON := c.Flags().Bool("json", false, "print an object")
	c.RunE = func(*cobra.Command, []string) error {
		b := build()
		if *asJSON {
			return json.NewEncoder(p.out).Encode(map[string]string{"version": b.Version, "revision": b.Revision, "goVersion": b.GoVersion})
		}
		fmt.Fprintf(p.out, "mfpgate %s %s %s\n", b.Version, b.Revision, b.GoVersion)
		return nil
	}
	return c
}
