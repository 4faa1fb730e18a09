package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
)

// command builds the command tree. started is set when a command's own work begins: an error before that is the command
// line's.
func command(stdout, stderr io.Writer) (root *cobra.Command, started *bool) {
	root = group("mfpcloud", "One region of the reference cloud",
		serveCommand(), gatewayCommand(), contractCommand(), packageCommand(), deviceCommand(), operatorCommand(), administratorCommand(),
		deliveryCommand(), backgroundCommand(), peerCommand(), keyCommand(), rolloutCommand(), movesCommand(), holdingsCommand(), auditCommand())
	root.SilenceUsage, root.SilenceErrors = true, true
	root.SetOut(stdout)
	root.SetErr(stderr)
	started = new(bool)
	mark(root, started)
	return root, started
}

func mark(c *cobra.Command, started *bool) {
	if inner := c.RunE; inner != nil && !c.HasSubCommands() {
		c.RunE = func(c *cobra.Command, args []string) error {
			*started = true
			return inner(c, args)
		}
	}
	for _, sub := range c.Commands() {
		mark(sub, started)
	}
}

// group is a command that only has others: without one of them, or with an unknown one, the command line is wrong.
func group(name, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short, RunE: func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s needs a command", c.CommandPath())
		}
		return fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath())
	}}
	c.Args = cobra.ArbitraryArgs
	c.AddCommand(subs...)
	return c
}

// onFolder adds --state and opens the folder for work.
func onFolder(c *cobra.Command, work func(*cobra.Command, *provision.Folder, []string) error) *cobra.Command {
	state := c.Flags().String("state", "", "the region's state folder")
	must(c.MarkFlagRequired("state"))
	must(c.MarkFlagDirname("state"))
	c.RunE = func(c *cobra.Command, args []string) error {
		folder, err := provision.Open(*state, mfpgate.SystemClock{})
		if err != nil {
			return err
		}
		return work(c, folder, args)
	}
	return c
}

// must is for mistakes in this program's own flag names.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
