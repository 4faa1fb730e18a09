package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

func (p *process) registrations() *cobra.Command {
	c := &cobra.Command{Use: "registrations", Short: "Register devices in cloud print services, and see how far that is", Args: cobra.NoArgs,
		Long: "Register devices, and users of them, in cloud print services with an administrator's approval, and see how far that is."}
	p.listRegistrations(c)
	list := &cobra.Command{Use: "list", Short: "List the registrations that are open or ended in the last 30 days", Args: cobra.NoArgs}
	p.listRegistrations(list)
	c.AddCommand(list, p.requestRegistration(), p.showRegistration(), p.retryRegistration(),
		p.changeRegistration("resend ID", "Mail the administrator once more", http.MethodPost, "/resend", nil, "the letter is on its way again"),
		p.changeRegistration("cancel ID", "End an open registration", http.MethodDelete, "", nil, "is cancelled"),
		p.changeRegistration("approve ID", "Approve, where the print service asks nobody", http.MethodPost, "/decide", map[string]bool{"approve": true}, "is approved"),
		p.changeRegistration("deny ID", "Deny, where the print service asks nobody", http.MethodPost, "/decide", map[string]bool{"approve": false}, "is denied"))
	return c
}

func (p *process) listRegistrations(c *cobra.Command) {
	r := p.remote(c).shows(c)
	open := c.Flags().Bool("open", false, "only those that have not ended")
	c.RunE = func(c *cobra.Command, _ []string) error {
		text, err := r.call(c.Context(), http.MethodGet, "registrations", nil)
		if err != nil {
			return err
		}
		list := struct {
			Items []mfpgate.Registration `json:"items"`
		}{}
		if err := json.Unmarshal(text, &list); err != nil {
			return &exit{refused, fmt.Errorf("the daemon's answer: %w", err)}
		}
		if *open {
			some := []mfpgate.Registration{}
			for _, g := range list.Items {
				if !g.State.Ended() {
					some = append(some, g)
				}
			}
			list.Items = some
		}
		if *r.json {
			return json.NewEncoder(p.out).Encode(list)
		}
		printRegistrations(p.out, list.Items, p.clock.Now())
		return nil
	}
}

func (p *process) requestRegistration() *cobra.Command {
	c := &cobra.Command{Use: "request", Short: "Ask for a device and a user to be registered in a print service", Args: cobra.NoArgs}
	r := p.remote(c).shows(c)
	device := c.Flags().String("device", "", "the device's id, or its name where no other has the same (required)")
	user := c.Flags().String("user", "", "mail address of who shall be allowed to print (required)")
	service := c.Flags().String("service", "", "the print service; needed if there are several")
	admin := c.Flags().String("admin", "", "mail address of who shall approve, instead of the configured one")
	retries := c.Flags().Int("retries", 0, "new codes after the first, 2 to 10, if nobody answers (default as configured)")
	wait := c.Flags().Bool("wait", false, "follow it to its end, and fail if that is not a good one")
	_, _ = c.MarkFlagRequired("device"), c.MarkFlagRequired("user")
	c.RunE = func(c *cobra.Command, _ []string) error {
		ctx := c.Context()
		id, err := r.device(ctx, *device)
		if err != nil {
			return err
		}
		if *service == "" {
			if *service, err = r.onlyService(ctx); err != nil {
				return err
			}
		}
		body := map[string]any{"deviceId": id, "service": *service, "user": *user}
		if *admin != "" {
			body["admin"] = *admin
		}
		if c.Flags().Changed("retries") {
			if *retries < 2 || *retries > 10 {
				return &exit{usage, errors.New("--retries takes 2 to 10")}
			}
			body["retries"] = *retries
		}
		text, err := r.call(ctx, http.MethodPost, "registrations", body)
		return r.begun(ctx, text, err, *wait)
	}
	return c
}

// onlyService is the print service that needs no name.
func (r *remote) onlyService(ctx context.Context) (string, error) {
	text, err := r.call(ctx, http.MethodGet, "print-services", nil)
	if err != nil {
		return "", err
	}
	var list struct{ Items []control.PrintService }
	if err := json.Unmarshal(text, &list); err != nil {
		return "", &exit{refused, fmt.Errorf("the daemon's answer: %w", err)}
	}
	switch len(list.Items) {
	case 0:
		return "", &exit{refused, errors.New("no print service is configured; name one in print_services")}
	case 1:
		return list.Items[0].Name, nil
	}
	names := ""
	for _, s := range list.Items {
		names += "\n  " + clean(s.Name) + "  " + clean(s.URL)
	}
	return "", &exit{usage, fmt.Errorf("there are %d print services; name one with --service:%s", len(list.Items), names)}
}

func (p *process) retryRegistration() *cobra.Command {
	c := &cobra.Command{Use: "retry ID", Short: "Ask anew for what has failed or was cancelled", Args: cobra.ExactArgs(1)}
	r := p.remote(c).shows(c)
	wait := c.Flags().Bool("wait", false, "follow it to its end, and fail if that is not a good one")
	c.RunE = func(c *cobra.Command, args []string) error {
		id, err := registrationID(args[0])
		if err != nil {
			return err
		}
		text, err := r.call(c.Context(), http.MethodPost, "registrations/"+id+"/retry", nil)
		return r.begun(c.Context(), text, err, *wait)
	}
	return c
}

// begun says what was begun, and follows it if that is wanted.
func (r *remote) begun(ctx context.Context, text []byte, err error, wait bool) error {
	if err != nil {
		return err
	}
	var g mfpgate.Registration
	if err := json.Unmarshal(text, &g); err != nil {
		return &exit{refused, fmt.Errorf("the daemon's answer: %w", err)}
	}
	out := r.process.out
	switch {
	case wait:
		if !*r.json {
			fmt.Fprintln(out, clean(g.ID))
		}
		return r.follow(ctx, g.ID)
	case *r.json:
		_, err = fmt.Fprintln(out, string(bytes.TrimSpace(text)))
	default:
		_, err = fmt.Fprintf(out, "%s: %s\nhint: `mfpgate registrations show %s` shows how far it is\n", clean(g.ID), clean(progress(g)), clean(g.ID))
	}
	return err
}

// follow tells what a registration becomes, until it has ended. A bad end is an exit.
func (r *remote) follow(ctx context.Context, id string) error {
	g, err := follow(ctx, r, "registrations/"+id+"/events", following[mfpgate.Registration]{
		progress: progress, since: func(g mfpgate.Registration) string { return timeOfDay(g.Since) }, ended: func(g mfpgate.Registration) bool { return g.State.Ended() }})
	if err != nil {
		return err
	}
	return r.ended(g)
}

func (r *remote) ended(g mfpgate.Registration) error {
	if *r.json {
		if err := json.NewEncoder(r.process.out).Encode(g); err != nil {
			return err
		}
	}
	if g.State != mfpgate.RegistrationRegistered {
		return &exit{code: refused}
	}
	return nil
}

func (p *process) showRegistration() *cobra.Command {
	c := &cobra.Command{Use: "show ID", Short: "Show everything about one registration, with the administrator's code", Args: cobra.ExactArgs(1)}
	r := p.remote(c).shows(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		id, err := registrationID(args[0])
		if err != nil {
			return err
		}
		var g control.RegistrationDetail
		return r.show(c.Context(), "registrations/"+id, &g, func(w io.Writer) { printRegistration(w, g, p.clock.Now()) })
	}
	return c
}

// changeRegistration is a command that changes one registration and answers nothing.
func (p *process) changeRegistration(use, short, method, below string, body any, said string) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1)}
	r := p.remote(c).shows(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		id, err := registrationID(args[0])
		if err != nil {
			return err
		}
		if _, err := r.call(c.Context(), method, "registrations/"+id+below, body); err != nil {
			return err
		}
		if *r.json {
			return r.show(c.Context(), "registrations/"+id, nil, nil)
		}
		_, err = fmt.Fprintf(p.out, "%s: %s\n", id, said)
		return err
	}
	return c
}

var registrationForm = regexp.MustCompile(`^[A-Za-z0-9_]{1,64}$`)

// registrationID refuses what can be none before it becomes a part of an address.
func registrationID(text string) (string, error) {
	if !registrationForm.MatchString(text) {
		return "", &exit{usage, fmt.Errorf("%s is no registration's id; `mfpgate registrations` lists them", clean(text))}
	}
	return text, nil
}
