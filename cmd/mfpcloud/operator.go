package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate/cloud/server/provision"
)

func operatorCommand() *cobra.Command {
	add := &cobra.Command{
		Use: "add NAME --state DIR", Short: "Make an account for the pages and the device commands, and print its password, once", Args: cobra.ExactArgs(1),
	}
	return group("operator", "The people who look after the region", onFolder(add,
		func(c *cobra.Command, f *provision.Folder, args []string) error {
			password, err := f.AddOperator(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), password.Reveal())
			return err
		}))
}
