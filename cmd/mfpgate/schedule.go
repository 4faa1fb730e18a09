package main

import "github.com/spf13/cobra"

func (p *process) schedule() *cobra.Command {
	c := &cobra.Command{Use: "schedule", Short: "Look at the delivery schedule, and repair it", Args: cobra.NoArgs}
	p.showSchedule(c)
	show := &cobra.Command{Use: "show", Short: "Show how the delivery schedule stands", Args: cobra.NoArgs}
	p.showSchedule(show)
	c.AddCommand(show, p.overloads(), p.proposeSchedule(), p.applySchedule(), p.planSchedule())
	return c
}
