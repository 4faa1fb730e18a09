package main

import "github.com/spf13/cobra"

func (p *process) schedule() *cobra.Command {
	c := &cobra.Command{Use: "schedule", Short: "Look at the delivery schedule, and repair it", Args: cobra.NoArgs}
	c.AddCommand(p.planSchedule())
	return c
}
