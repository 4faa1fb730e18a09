package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
)

func deviceCommand() *cobra.Command {
	token := &cobra.Command{Use: "token ID --state DIR", Short: "Print the token that the factory gives a device", Args: cobra.ExactArgs(1)}
	return group("device", "The devices of the region", deviceList(), deviceDelete(), onFolder(token,
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

func deviceList() *cobra.Command {
	list := &cobra.Command{
		Use: "list GATEWAY --url URL --operator NAME --password-file F", Args: cobra.ExactArgs(1),
		Short: "List the devices that a gateway tells of, from the running region",
	}
	asJSON := list.Flags().Bool("json", false, "print the API's own objects")
	return onRegion(list, func(c *cobra.Command, r *remote, args []string) error {
		all := api.Page[api.DeviceEntry]{Items: []api.DeviceEntry{}}
		for query := (url.Values{"limit": {"500"}}); ; {
			var page api.Page[api.DeviceEntry]
			if _, err := r.call(c.Context(), http.MethodGet, "", &page, query, args[0], "devices"); err != nil {
				return err
			}
			all.Items = append(all.Items, page.Items...)
			if page.NextCursor == "" {
				break
			}
			query.Set("cursor", page.NextCursor)
		}
		if *asJSON {
			out := json.NewEncoder(c.OutOrStdout())
			out.SetIndent("", "  ")
			return out.Encode(all)
		}
		table := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "ID\tNAME\tMODEL\tSERIAL\tMODE\tSTATE\tLAST SEEN")
		for _, d := range all.Items {
			seen := "never"
			if d.LastSeen != nil {
				seen = d.LastSeen.UTC().Format(time.RFC3339)
			}
			// What devices say must not move the cursor of a terminal.
			row := []string{d.DeviceID, d.Name, strings.TrimSpace(d.Make + " " + d.Model), d.Serial, d.MonitoringMode, d.State, seen}
			for i, cell := range row {
				row[i] = printable(cell)
			}
			fmt.Fprintln(table, strings.Join(row, "\t"))
		}
		return table.Flush()
	})
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

func deviceDelete() *cobra.Command {
	remove := &cobra.Command{
		Use: "delete GATEWAY DEVICE --url URL --operator NAME --password-file F", Args: cobra.ExactArgs(2),
		Short: "Make the running region forget a device, so that another gateway may tell of it",
	}
	return onRegion(remove, func(c *cobra.Command, r *remote, args []string) error {
		etag, err := r.call(c.Context(), http.MethodGet, "", nil, nil, args[0], "devices", args[1])
		if err != nil {
			return err
		}
		_, err = r.call(c.Context(), http.MethodDelete, etag, nil, nil, args[0], "devices", args[1])
		return err
	})
}
