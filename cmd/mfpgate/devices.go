package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

func (p *process) devices() *cobra.Command {
	c := &cobra.Command{Use: "devices", Short: "List the devices that the gateway knows, and keep them in order", Args: cobra.NoArgs,
		Long: "List the devices that the gateway knows, and keep them in order.\nA device is named by its id, or by its name where no other has the same."}
	p.listDevices(c)
	list := &cobra.Command{Use: "list", Short: "List the devices", Args: cobra.NoArgs}
	p.listDevices(list)
	c.AddCommand(list, p.showDevice(), p.pinDevices(), p.splitDevice(), p.forgetDevice(), p.renameDevice(), p.scanDevices())
	return c
}

func (p *process) listDevices(c *cobra.Command) {
	r := p.remote(c).shows(c)
	asCSV := c.Flags().Bool("csv", false, "print RFC 4180 with a header, for spreadsheets")
	c.MarkFlagsMutuallyExclusive("json", "csv")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *r.json {
			return r.show(c.Context(), "devices", nil, nil)
		}
		devices, err := r.devices(c.Context())
		if err != nil {
			return err
		}
		if *asCSV {
			return control.WriteDevicesCSV(p.out, devices)
		}
		printDevices(p.out, devices, p.clock.Now())
		return nil
	}
}

func (p *process) showDevice() *cobra.Command {
	c := &cobra.Command{Use: "show DEVICE", Short: "Show everything about one device", Args: cobra.ExactArgs(1)}
	r := p.remote(c).shows(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		id, err := r.device(c.Context(), args[0])
		if err != nil {
			return err
		}
		text, err := r.call(c.Context(), http.MethodGet, "devices/"+string(id), nil)
		if err != nil {
			return err
		}
		if *r.json {
			_, err := fmt.Fprintln(p.out, string(bytes.TrimSpace(text)))
			return err
		}
		var d control.DeviceDetail
		if err := json.Unmarshal(text, &d); err != nil {
			return &exit{refused, fmt.Errorf("the daemon's answer: %w", err)}
		}
		printDevice(p.out, d, p.clock.Now())
		return nil
	}
	return c
}

func (p *process) pinDevices() *cobra.Command {
	c := &cobra.Command{Use: "pin KEEP OTHER...", Short: "Say that several are one device: the others become KEEP", Args: cobra.MinimumNArgs(2)}
	r := p.remote(c).shows(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		ids, err := r.named(c.Context(), args)
		if err != nil {
			return err
		}
		if slices.Contains(ids[1:], ids[0]) {
			return &exit{usage, fmt.Errorf("%s is the device to keep, and cannot be one of the others; name each device once", clean(args[0]))}
		}
		_, err = r.call(c.Context(), http.MethodPost, "devices/"+string(ids[0])+"/pin", map[string]any{"others": ids[1:]})
		return r.did(err, ids[0], "%s and %d more are one device now", clean(args[0]), len(ids)-1)
	}
	return c
}

func (p *process) splitDevice() *cobra.Command {
	c := &cobra.Command{Use: "split DEVICE SIGHTING", Short: "Say that a sighting is another device's; show lists the sightings", Args: cobra.ExactArgs(2)}
	r := p.remote(c).shows(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		id, err := r.device(c.Context(), args[0])
		if err != nil {
			return err
		}
		text, err := r.call(c.Context(), http.MethodPost, "devices/"+string(id)+"/split", map[string]string{"sightingId": args[1]})
		if err != nil {
			return err
		}
		var made struct {
			Device mfpgate.DeviceID `json:"deviceId"`
		}
		if err := json.Unmarshal(text, &made); err != nil {
			return &exit{refused, fmt.Errorf("the daemon's answer: %w", err)}
		}
		return r.did(nil, made.Device, "%s is the device %s now", clean(args[1]), made.Device)
	}
	return c
}

func (p *process) forgetDevice() *cobra.Command {
	c := &cobra.Command{Use: "forget DEVICE", Short: "Forget a device until it is seen again", Args: cobra.ExactArgs(1)}
	r := p.remote(c).shows(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		id, err := r.device(c.Context(), args[0])
		if err != nil {
			return err
		}
		_, err = r.call(c.Context(), http.MethodDelete, "devices/"+string(id), nil)
		return r.did(err, id, "%s is forgotten; it comes back when it is seen again", clean(args[0]))
	}
	return c
}

func (p *process) renameDevice() *cobra.Command {
	c := &cobra.Command{Use: "rename DEVICE NAME", Short: `Give a device a name, or with "" its own back`, Args: cobra.ExactArgs(2)}
	r := p.remote(c).shows(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		id, err := r.device(c.Context(), args[0])
		if err != nil {
			return err
		}
		_, err = r.call(c.Context(), http.MethodPut, "devices/"+string(id)+"/name", map[string]string{"name": args[1]})
		if args[1] == "" {
			return r.did(err, id, "%s has its own name again", clean(args[0]))
		}
		return r.did(err, id, "%s is called %s now", clean(args[0]), clean(args[1]))
	}
	return c
}

func (p *process) scanDevices() *cobra.Command {
	c := &cobra.Command{Use: "scan", Short: "Ask every source for devices now", Args: cobra.NoArgs}
	r := p.remote(c).shows(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		text, err := r.call(c.Context(), http.MethodPost, "devices/scan", nil)
		if err != nil {
			return err
		}
		var scan control.Scan
		if err := json.Unmarshal(text, &scan); err != nil {
			return &exit{refused, fmt.Errorf("the daemon's answer: %w", err)}
		}
		if *r.json {
			_, err = fmt.Fprintln(p.out, string(bytes.TrimSpace(text)))
			return err
		}
		_, err = fmt.Fprintln(p.out, clean(scan.Text))
		return err
	}
	return c
}

// did reports a change: which device it is about, as an object or in words.
func (r *remote) did(err error, id mfpgate.DeviceID, format string, args ...any) error {
	if err != nil {
		return err
	}
	if *r.json {
		return json.NewEncoder(r.process.out).Encode(map[string]mfpgate.DeviceID{"deviceId": id})
	}
	_, err = fmt.Fprintf(r.process.out, format+"\n", args...)
	return err
}

func (r *remote) devices(ctx context.Context) ([]mfpgate.Device, error) {
	text, err := r.call(ctx, http.MethodGet, "devices", nil)
	if err != nil {
		return nil, err
	}
	var list struct{ Items []mfpgate.Device }
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, &exit{refused, fmt.Errorf("the daemon's answer: %w", err)}
	}
	return list.Items, nil
}

func (r *remote) device(ctx context.Context, name string) (mfpgate.DeviceID, error) {
	ids, err := r.named(ctx, []string{name})
	if err != nil {
		return "", err
	}
	return ids[0], nil
}

// named finds the devices by id or by name. A change is never made by guess: a name that several devices have is refused
// with their ids.
func (r *remote) named(ctx context.Context, names []string) ([]mfpgate.DeviceID, error) {
	all, err := r.devices(ctx)
	if err != nil {
		return nil, err
	}
	var ids []mfpgate.DeviceID
	for _, name := range names {
		id, err := oneOf(all, name)
		if err != nil {
			return nil, &exit{refused, err}
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// maxCandidates bounds what an error lists.
const maxCandidates = 10

func oneOf(all []mfpgate.Device, name string) (mfpgate.DeviceID, error) {
	var exact, near []mfpgate.Device
	for _, d := range all {
		switch {
		case string(d.ID) == name:
			return d.ID, nil
		case d.Name == name && name != "":
			exact = append(exact, d)
		case name != "" && strings.Contains(strings.ToLower(d.Name+"\n"+d.Address+"\n"+d.Serial+"\n"+string(d.ID)), strings.ToLower(name)):
			near = append(near, d)
		}
	}
	switch {
	case len(exact) == 1:
		return exact[0].ID, nil
	case len(exact) > 1:
		return "", fmt.Errorf("%d devices are called %s; name one by its id:%s", len(exact), clean(name), candidates(exact))
	case len(near) > 0:
		return "", fmt.Errorf("no device has the id or the name %s; did you mean one of these?%s", clean(name), candidates(near))
	case name == "":
		return "", errors.New("an empty name is no device's; name one by its id")
	}
	return "", fmt.Errorf("no device has the id or the name %s; `mfpgate devices` lists them", clean(name))
}

func candidates(devices []mfpgate.Device) string {
	var b strings.Builder
	for _, d := range devices[:min(len(devices), maxCandidates)] {
		fmt.Fprintf(&b, "\n  %s  %s  %s", d.ID, clean(d.Name), clean(strings.TrimSpace(d.Make+" "+d.Model+" "+d.Address)))
	}
	if more := len(devices) - maxCandidates; more > 0 {
		fmt.Fprintf(&b, "\n  and %d more", more)
	}
	return b.String()
}
