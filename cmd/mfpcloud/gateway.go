package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate/cloud/server/provision"
)

func gatewayCommand() *cobra.Command {
	add := &cobra.Command{Use: "add ID --state DIR", Short: "Make a gateway and print its token, once", Args: cobra.ExactArgs(1)}
	behind := add.Flags().String("behind", "", "the gateway whose relay the new one's connections pass")
	return group("gateway", "The gateways of the region", onFolder(add,
		func(c *cobra.Command, f *provision.Folder, args []string) error {
			token, err := f.AddGatewayBehind(args[0], *behind)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), token.Reveal())
			return err
		}))
}
