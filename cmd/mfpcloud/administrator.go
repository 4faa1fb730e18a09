package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate/cloud/server/provision"
)

func administratorCommand() *cobra.Command {
	add := &cobra.Command{
		Use: "add EMAIL --state DIR", Short: "Make an account for the print service's pages, and print its password, once", Args: cobra.ExactArgs(1),
	}
	return group("administrator", "The people who allow devices and their users in the print service", onFolder(add,
		func(c *cobra.Command, f *provision.Folder, args []string) error {
			password, err := f.AddAdministrator(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), password.Reveal())
			return err
		}))
}
