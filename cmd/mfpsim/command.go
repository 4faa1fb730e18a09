package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/mfpgate/mfpgate/cmd/mfpsim/internal/mfp"
)

// command builds the command tree. started is set when a command's own work begins: an error before that is the command
// line's.
func command(stdout, stderr io.Writer) (root *cobra.Command, started *bool) {
	root = &cobra.Command{Use: "mfpsim", Short: "A simulated MFP", SilenceUsage: true, SilenceErrors: true, Args: cobra.ArbitraryArgs}
	root.RunE = func(_ *cobra.Command, args []string) error {
		return fmt.Errorf("needs the command run or fleet, not %q", args)
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	started = new(bool)
	root.AddCommand(runCommand(started), fleetCommand(started))
	return root, started
}

func runCommand(started *bool) *cobra.Command {
	c := &cobra.Command{Use: "run --cloud URL --id ID", Short: "Be one MFP until SIGTERM", Args: cobra.NoArgs}
	s := surroundingsFlags(c)
	s.registration = registrationFlags(c)
	o := mfp.Options{}
	c.Flags().StringVar(&o.ID, "id", "", "the device's id at its cloud")
	c.Flags().StringVar(&o.Name, "name", "", "what it calls itself; the id if empty")
	c.Flags().StringVar(&o.Serial, "serial", "", "serial number; the id if empty")
	c.Flags().StringVar(&o.State, "state", "", "file that it remembers its firmware in")
	bind := c.Flags().String("bind", "", "source address of its connections, such as 127.0.1.1")
	must(c.MarkFlagRequired("id"))
	c.RunE = func(c *cobra.Command, _ []string) error {
		*started = true
		if *bind != "" {
			addr, err := netip.ParseAddr(*bind)
			if err != nil {
				return fmt.Errorf("bind: %w", err)
			}
			o.Bind = addr
		}
		if o.Serial == "" {
			o.Serial = o.ID
		}
		return s.run(c.Context(), c.OutOrStdout(), []mfp.Options{o})
	}
	return c
}

// maxFleet bounds a fleet; each device needs its own address.
const maxFleet = 10_000

func fleetCommand(started *bool) *cobra.Command {
	c := &cobra.Command{Use: "fleet --cloud URL --count 8", Short: "Be several MFPs on addresses in a row until SIGTERM", Args: cobra.NoArgs}
	s := surroundingsFlags(c)
	count := c.Flags().Int("count", 8, "how many")
	first := c.Flags().String("first", "127.0.1.1", "source address of the first; the others follow")
	prefix := c.Flags().String("prefix", "mfp-", "id and name are this and 1, 2, 3...")
	serials := c.Flags().String("serial-prefix", "SIM", "serial numbers are this and 000001, 000002...")
	state := c.Flags().String("state", "", "folder for a state file each")
	c.RunE = func(c *cobra.Command, _ []string) error {
		*started = true
		addr, err := netip.ParseAddr(*first)
		if err != nil {
			return fmt.Errorf("first: %w", err)
		}
		if *count < 1 || *count > maxFleet {
			return fmt.Errorf("count %d: must be 1 to %d", *count, maxFleet)
		}
		all := make([]mfp.Options, *count)
		for i := range all {
			id := fmt.Sprintf("%s%d", *prefix, i+1)
			all[i] = mfp.Options{ID: id, Serial: fmt.Sprintf("%s%06d", *serials, i+1), Bind: addr}
			if *state != "" {
				all[i].State = filepath.Join(*state, id+".json")
			}
			addr = addr.Next()
		}
		return s.run(c.Context(), c.OutOrStdout(), all)
	}
	return c
}

// run is the life of all devices.
func (s *surroundings) run(ctx context.Context, stdout io.Writer, all []mfp.Options) error {
	notify := mfp.Printer(stdout, s.json)
	network, err := s.network(all)
	if err != nil {
		return err
	}
	if err := s.registration.check(); err != nil {
		return err
	}
	var devices []*mfp.Device
	var registrars []*registrar
	for _, o := range all {
		if err := s.complete(&o); err != nil {
			return err
		}
		listening, err := network.join(&o, notify)
		if err != nil {
			return err
		}
		d, err := mfp.New(o)
		if err != nil {
			return err
		}
		if err := listening(d.Firmware()); err != nil {
			return err
		}
		devices = append(devices, d)
		if s.registration.on() {
			r, err := s.registration.open(ctx, o, s.printing.location, notify)
			if err != nil {
				return err
			}
			registrars = append(registrars, r)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return network.run(ctx) })
	for _, d := range devices {
		g.Go(func() error { return d.Run(ctx) })
	}
	for _, r := range registrars {
		g.Go(func() error { return r.run(ctx) })
	}
	return g.Wait()
}

// must is for mistakes in this program's own flag names.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
