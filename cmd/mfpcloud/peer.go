package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
)

// maxInvitation bounds what is read of one, in bytes.
const maxInvitation = 16 << 10

func peerCommand() *cobra.Command {
	return group("peer", "The regions that devices move from and to", peerInvite(), peerAccept(), peerList(), peerRemove())
}

func peerInvite() *cobra.Command {
	invite := &cobra.Command{
		Use: "invite REGION --state DIR", Short: "Print an invitation for another region, once: with it that one may call this one", Args: cobra.ExactArgs(1),
	}
	self := invite.Flags().String("region", "", "this region, if it was never served from the folder")
	return onFolder(invite, func(c *cobra.Command, f *provision.Folder, args []string) error {
		if *self != "" {
			if err := f.SetRegion(*self); err != nil {
				return err
			}
		}
		own, err := f.Region()
		if err != nil {
			return fmt.Errorf("which region this is: %w; serve it once, or say it with --region", err)
		}
		i, err := f.InvitePeer(own, args[0])
		if err != nil {
			return err
		}
		return json.NewEncoder(c.OutOrStdout()).Encode(i)
	})
}

func peerAccept() *cobra.Command {
	accept := &cobra.Command{
		Use: "accept FILE|- --state DIR", Short: "Keep another region's invitation, so that this one may call it", Args: cobra.ExactArgs(1),
	}
	ca := accept.Flags().String("ca", "", "the other region's cert.pem; without it the system's authorities are trusted")
	must(accept.MarkFlagFilename("ca"))
	return onFolder(accept, func(c *cobra.Command, f *provision.Folder, args []string) error {
		in := c.InOrStdin()
		if args[0] != "-" {
			file, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer file.Close()
			in = file
		}
		text, err := io.ReadAll(io.LimitReader(in, maxInvitation))
		if err != nil {
			return fmt.Errorf("invitation: %w", err)
		}
		var i provision.Invitation
		if err := json.Unmarshal(text, &i); err != nil {
			return fmt.Errorf("invitation: %w; hand over what `mfpcloud peer invite` printed, whole", err)
		}
		var trusted []byte
		if *ca != "" {
			if trusted, err = os.ReadFile(*ca); err != nil {
				return fmt.Errorf("ca: %w", err)
			}
		}
		if err := f.AcceptPeer(i, trusted); err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s is a peer; serve with --peer %[1]s=URL: until then no device can be registered for the first time\n", i.Region)
		return err
	})
}

func peerList() *cobra.Command {
	return onFolder(&cobra.Command{Use: "list --state DIR", Short: "List the regions whose invitations were accepted", Args: cobra.NoArgs},
		func(c *cobra.Command, f *provision.Folder, _ []string) error {
			list, err := f.Peers()
			for _, p := range list {
				fmt.Fprintf(c.OutOrStdout(), "%s\t%s\n", p.Region, p.Key)
			}
			return err
		})
}

func peerRemove() *cobra.Command {
	return onFolder(&cobra.Command{Use: "remove REGION --state DIR", Short: "End what was agreed with a region, both ways", Args: cobra.ExactArgs(1)},
		func(_ *cobra.Command, f *provision.Folder, args []string) error { return f.RemovePeer(args[0]) })
}

func keyCommand() *cobra.Command {
	return onFolder(&cobra.Command{
		Use: "key --state DIR", Short: "Print the public key under which the region signs, which its factory gives to devices", Args: cobra.NoArgs,
	}, func(c *cobra.Command, f *provision.Folder, _ []string) error {
		key, err := f.PublicKey()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.OutOrStdout(), key)
		return err
	})
}

func rolloutCommand() *cobra.Command {
	add := &cobra.Command{Use: "add SERVICE --state DIR", Short: "Offer a service, in place of what was said of it before", Args: cobra.ExactArgs(1)}
	children := add.Flags().StringArray("child", nil, "a child service; may be given again")
	list := &cobra.Command{Use: "list --state DIR", Short: "List the services that the region offers", Args: cobra.NoArgs}
	asJSON := list.Flags().Bool("json", false, "print the API's own objects")
	remove := &cobra.Command{Use: "remove SERVICE --state DIR", Short: "Offer a service no more; devices in it stay", Args: cobra.ExactArgs(1)}
	return group("rollout", "The services that the region offers in its country",
		onFolder(add, func(_ *cobra.Command, f *provision.Folder, args []string) error {
			return f.AddOffer(mfpgate.ServiceOffer{ID: args[0], Children: *children})
		}),
		onFolder(list, func(c *cobra.Command, f *provision.Folder, _ []string) error {
			offers, err := f.Offers()
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(c.OutOrStdout(), map[string]any{"items": offers})
			}
			table := newTable(c.OutOrStdout(), "SERVICE", "CHILDREN")
			for _, o := range offers {
				table.row(o.ID, joined(o.Children))
			}
			return table.Flush()
		}),
		onFolder(remove, func(_ *cobra.Command, f *provision.Folder, args []string) error { return f.RemoveOffer(args[0]) }))
}
