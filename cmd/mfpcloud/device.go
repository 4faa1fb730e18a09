package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate/cloud/server/provision"
)

func deviceCommand() *cobra.Command {
	token := &cobra.Command{Use: "token ID --state DIR", Short: "Print the token that the factory gives a device", Args: cobra.ExactArgs(1)}
	return group("device", "The devices of the region", onFolder(token,
		func(c *cobra.Command, f *provision.Folder, args []string) error {
			if err := provision.CheckName(args[0]); err != nil {
				return err
			}
			key, err := f.FactoryKey()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), provision.DeviceToken(key, args[0]).Reveal())
			return err
		}))
}
