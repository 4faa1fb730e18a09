package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/mfpgate/mfpgate/daemon/control"
)

func (p *process) user() *cobra.Command {
	c := &cobra.Command{Use: "user", Short: "Manage portal accounts"}
	c.AddCommand(p.addUser(), p.listUsers(), p.removeUser())
	return c
}

func (p *process) addUser() *cobra.Command {
	c := &cobra.Command{Use: "add NAME", Short: "Make an account, or give it a new password",
		Long: `Make a portal account, or give it a new password, which ends its logins.
The password is asked for at a terminal; else it is the first line of standard input.
An administrator sees and does everything. A user asks for registrations for his own mail address, and sees those alone.
What is not given stays as it was; a new account is an administrator.`, Args: cobra.ExactArgs(1)}
	r := p.remote(c)
	email := c.Flags().String("email", "", "the account's mail address; a user must have one")
	role := c.Flags().String("role", "", "administrator or user")
	c.RunE = func(c *cobra.Command, args []string) error {
		if !slices.Contains([]control.Role{"", control.RoleAdministrator, control.RoleUser}, control.Role(*role)) {
			return &exit{usage, fmt.Errorf("--role is %s or %s, not %s", control.RoleAdministrator, control.RoleUser, clean(*role))}
		}
		password, err := p.password()
		if err != nil {
			return &exit{usage, err}
		}
		body := map[string]string{"password": password}
		if *email != "" {
			body["email"] = *email
		}
		if *role != "" {
			body["role"] = *role
		}
		_, err = r.call(c.Context(), http.MethodPut, "users/"+args[0], body)
		if err == nil {
			fmt.Fprintf(p.out, "%s can log in at the portal now\n", args[0])
		}
		return err
	}
	return c
}

func (p *process) listUsers() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the accounts", Args: cobra.NoArgs}
	r := p.remote(c).shows(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var answer struct{ Items []control.User }
		return r.show(c.Context(), "users", &answer, func(out io.Writer) {
			w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tROLE\tEMAIL\tCHANGED")
			for _, u := range answer.Items {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", u.Name, u.Role, clean(cmp.Or(u.Email, "-")), ago(u.Changed, p.clock.Now()))
			}
			_ = w.Flush() // as every print here: nobody is told that the terminal went away
		})
	}
	return c
}

func (p *process) removeUser() *cobra.Command {
	c := &cobra.Command{Use: "remove NAME", Short: "Remove an account and end its logins", Args: cobra.ExactArgs(1)}
	r := p.remote(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		_, err := r.call(c.Context(), http.MethodDelete, "users/"+args[0], nil)
		if err == nil {
			fmt.Fprintf(p.out, "%s has no portal account now\n", clean(args[0]))
		}
		return err
	}
	return c
}

func (p *process) password() (string, error) {
	if f, ok := p.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(p.err, "Password: ")
		first, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(p.err)
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		fmt.Fprint(p.err, "Again: ")
		second, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(p.err)
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		if string(first) != string(second) {
			return "", errors.New("the two passwords differ; try again")
		}
		return string(first), nil
	}
	line, err := bufio.NewReader(io.LimitReader(p.in, 4<<10)).ReadString('\n')
	if err != nil && (!errors.Is(err, io.EOF) || line == "") {
		return "", errors.New("no password on standard input; write it as the first line")
	}
	return strings.TrimRight(line, "\r\n"), nil
}
