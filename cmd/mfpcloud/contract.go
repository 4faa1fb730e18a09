package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
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
	lead := set.Flags().Duration("lead-time", 0, "how long before its start a delivery is fixed, 0 to 720h")
	slot := set.Flags().Duration("slot", 0, "new starts are multiples of it, 1s to 24h")
	farthest := set.Flags().Duration("max-move", 0, "the farthest that a start may be moved; 0 for no limit")
	excess := set.Flags().Int("notify-min-excess", 0, "devices above capacity that are worth a report")
	calendar := set.Flags().StringArray("calendar", nil,
		"another limit at some times: 'RRULE HH:MM-HH:MM DEVICES [ZONE]', such as 'FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR 08:00-18:00 30'; may be given again; '' for none")
	intervals := map[string]*time.Duration{}
	for name, usage := range map[string]string{
		"poll-status": "status of polled devices, 10s to 1h", "poll-supplies": "their supplies, 1m to 24h",
		"poll-counters": "their counters, 1m to 168h", "heartbeat": "between reports though nothing changed, 1m to 168h",
	} {
		intervals[name] = set.Flags().Duration(name, 0, usage)
	}
	return onFolder(set, func(c *cobra.Command, f *provision.Folder, args []string) error {
		given := c.Flags().Changed
		rules, err := capacityRules(*calendar)
		if err != nil {
			return err
		}
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
			if given("lead-time") {
				contract.LeadTime = api.Duration(*lead)
			}
			if given("slot") {
				contract.Slot = api.Duration(*slot)
			}
			if given("max-move") {
				contract.MaxMove = api.Duration(*farthest)
			}
			if given("notify-min-excess") {
				contract.NotifyMinExcess = *excess
			}
			if given("calendar") {
				contract.CapacityCalendar = rules
				for i := range rules {
					rules[i].TimeZone = cmp.Or(rules[i].TimeZone, contract.TimeZone)
				}
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

// capacityRules reads the flag's form; what a rule says is the contract's to check.
func capacityRules(lines []string) ([]api.CapacityRule, error) {
	rules := []api.CapacityRule{}
	for _, line := range lines {
		part := strings.Fields(line)
		if len(part) == 0 {
			continue
		}
		bad := fmt.Errorf("calendar %q: must be 'RRULE HH:MM-HH:MM DEVICES [ZONE]'", line)
		if len(part) < 3 || len(part) > 4 {
			return nil, bad
		}
		start, end, ok := strings.Cut(part[1], "-")
		devices, err := strconv.Atoi(part[2])
		if !ok || err != nil {
			return nil, bad
		}
		rule := api.CapacityRule{RRule: part[0], Start: start, End: end, MaxConcurrent: devices}
		if len(part) == 4 {
			rule.TimeZone = part[3]
		}
		rules = append(rules, rule)
	}
	return rules, nil
}
