package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate/daemon"
	"github.com/mfpgate/mfpgate/daemon/doctor"
)

func (p *process) doctor() *cobra.Command {
	c := &cobra.Command{Use: "doctor", Short: "Look for what would keep the gateway from its work, and say what mends it", Args: cobra.NoArgs,
		Long: "Look for what would keep the gateway from its work, and say what mends it.\nNothing is changed. A running daemon is asked; without one the machine is looked at."}
	file := configFlag(c)
	r := p.remote(c).shows(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		found := doctor.Look(c.Context(), doctor.Options{ConfigFile: *file, Socket: r.path(), OpenUSB: daemon.OpenUSB()})
		if *r.json {
			if err := json.NewEncoder(p.out).Encode(map[string][]doctor.Finding{"items": found}); err != nil {
				return err
			}
		} else {
			p.printFindings(found)
		}
		if slices.ContainsFunc(found, func(f doctor.Finding) bool { return f.Result == doctor.Failed }) {
			return &exit{code: refused}
		}
		return nil
	}
	return c
}

// printFindings prints a table; a fix stands below its line.
func (p *process) printFindings(found []doctor.Finding) {
	check, result := len("CHECK"), len("RESULT")
	for _, f := range found {
		check, result = max(check, width(f.Check)), max(result, width(string(f.Result)))
	}
	fmt.Fprintf(p.out, "%s  %s  %s\n", fit("CHECK", check), fit("RESULT", result), "DETAIL")
	for _, f := range found {
		fmt.Fprintf(p.out, "%s  %s  %s\n", fit(f.Check, check), fit(string(f.Result), result), clean(f.Detail))
		if f.Fix != "" {
			fmt.Fprintf(p.out, "%s  %s  -> %s\n", fit("", check), fit("", result), clean(f.Fix))
		}
	}
}
