package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func (p *process) user() *cobra.Command {
	c := &cobra.Command{Use: "user", Short: "Manage portal accounts"}
	add := &cobra.Command{Use: "add NAME", Short: "Make an account, or give it a new password",
		Long: "Make a portal account, or give it a new password.\nThe password is asked for at a terminal; else it is the first line of standard input.", Args: cobra.ExactArgs(1)}
	r := p.remote(add)
	add.RunE = func(c *cobra.Command, args []string) error {
		password, err := p.password()
		if err != nil {
			return &exit{usage, err}
		}
		_, err = r.call(c.Context(), http.MethodPut, "users/"+args[0], map[string]string{"password": password})
		if err == nil {
			fmt.Fprintf(p.out, "%s can log in at the portal now\n", args[0])
		}
		return err
	}
	c.AddCommand(add)
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
