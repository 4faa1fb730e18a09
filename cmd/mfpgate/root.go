package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/daemon"
)

// The exit codes.
const (
	done        = 0
	refused     = 1 // or invalid
	usage       = 2 // or bad input
	unreachable = 3 // the daemon does not answer
)

// process is what a command gets from the operating system.
type process struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	signals  <-chan os.Signal
	clock    mfpgate.Clock
}

// exit is an error with its code, after its text was printed or because it needs none.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

const defaultConfig = "/etc/mfpgate/mfpgate.yaml"

func (p *process) run(ctx context.Context, args []string) int {
	root := &cobra.Command{
		Use:           "mfpgate",
		Short:         "Relay a site's printers to their clouds",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       build().Version,
	}
	root.SetArgs(args)
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	root.AddCommand(p.serve(), p.check(), p.status(), p.devices(), p.user(), p.schedule(), p.registrations(), p.moves(), p.audit(), p.doctor(), p.version())
	err := root.ExecuteContext(ctx)
	if err == nil {
		return done
	}
	if e, ok := errors.AsType[*exit](err); ok {
		if text := e.Error(); text != "" {
			fmt.Fprintln(p.err, "mfpgate:", text)
		}
		return e.code
	}
	fmt.Fprintln(p.err, "mfpgate:", err)
	fmt.Fprintln(p.err, "hint: mfpgate help lists the commands")
	return usage
}

// failed is the exit of a command that the daemon or the configuration refused.
func failed(err error) error {
	if err == nil {
		return nil
	}
	if all, ok := errors.AsType[config.Errors](err); ok {
		return &exit{refused, all}
	}
	return &exit{refused, err}
}

// build says what this binary is, from what the toolchain stamped into it.
func build() daemon.Build {
	b := daemon.Build{Version: "devel", GoVersion: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Revision = s.Value
		}
	}
	return b
}
