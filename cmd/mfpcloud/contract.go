package main

import (
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
)

func contractCommand() *cobra.Command {
	return group("contract", "What customers bought for their gateways", contractShow(), contractSet())
}

func contractShow() *cobra.Command {
	show := &cobra.Command{Use: "show GATEWAY --state DIR", Short: "Print a contract as JSON", Args: cobra.ExactArgs(1)}
	return onFolder(show, func(c *cobra.Command, f *provision.Folder, args []string) error {
		contract, _, err := f.Contract(args[0])
		if err != nil {
			return err
		}
		out := json.NewEncoder(c.OutOrStdout())
		out.SetIndent("", "  ")
		return out.Encode(contract)
	})
}

func contractSet() *cobra.Command {
	set := &cobra.Command{
		Use: "set GATEWAY --state DIR [flags]", Short: "Change a contract; what no flag names stays", Args: cobra.ExactArgs(1),
	}
	concurrent := set.Flags().Int("max-concurrent", 0, "devices served at once; 0 for no limit")
	zone := set.Flags().String("time-zone", "", "IANA name, such as Asia/Tokyo")
	mode := set.Flags().String("mode", "", "notify, propose or auto")
	services := set.Flags().StringSlice("services", nil, "services bought, such as "+api.ServiceDelivery)
	intervals := map[string]*time.Duration{}
	for name, usage := range map[string]string{
		"poll-status": "status of polled devices, 10s to 1h", "poll-supplies": "their supplies, 1m to 24h",
		"poll-counters": "their counters, 1m to 168h", "heartbeat": "between reports though nothing changed, 1m to 168h",
	} {
		intervals[name] = set.Flags().Duration(name, 0, usage)
	}
	return onFolder(set, func(c *cobra.Command, f *provision.Folder, args []string) error {
		given := c.Flags().Changed
		return f.ChangeContract(args[0], func(contract *api.Contract) {
			if given("max-concurrent") {
				contract.MaxConcurrent = *concurrent
			}
			if given("time-zone") {
				contract.TimeZone = *zone
			}
			if given("mode") {
				contract.Mode = *mode
			}
			if given("services") {
				contract.Services = *services
			}
			for name, interval := range intervals {
				if !given(name) {
					continue
				}
				if contract.Polling == nil {
					p := api.DefaultPolling()
					contract.Polling = &p
				}
				at := map[string]*api.Duration{
					"poll-status": &contract.Polling.Status, "poll-supplies": &contract.Polling.Supplies,
					"poll-counters": &contract.Polling.Counters, "heartbeat": &contract.Polling.Heartbeat,
				}[name]
				*at = api.Duration(*interval)
			}
		})
	})
}
