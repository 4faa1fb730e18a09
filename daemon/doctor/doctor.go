package doctor

import (
	"context"
	"errors"

	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/daemon"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/endpoint/dnssd"
)

// Result is what a check found.
type Result string

// The results.
const (
	Good    Result = "good"
	Warning Result = "warning" // it works, and somebody should look
	Failed  Result = "failed"
	Skipped Result = "skipped" // it is switched off, or what it depends on failed
)

// Finding is one line of the answer. Its JSON form is the command's.
type Finding struct {
	Check  string `json:"check"`
	Result Result `json:"result"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"` // what to do; set where Result is Failed or Warning
}

// Options are what a doctor needs.
type Options struct {
	ConfigFile string
	Socket     string                  // of the running daemon; where there is none, that of state_dir is asked
	OpenUSB    func() (bus.Bus, error) // the machine's USB; nil: this build has none
	Root       string                  // "" is /; tests have their own
	Service    string                  // the user that the service runs as; "" is mfpgate
	// Links are those on which printers may be published; nil: the machine's.
	Links func() ([]dnssd.Interface, error)
}

// site is what the checks share.
type site struct {
	Options
	config *config.Config  // nil: it cannot be read
	status *control.Status // of the running daemon; nil: it does not answer
}

// checks are all there are, in the order of the answer. A further one is a function more.
var checks = []struct {
	name string
	look func(context.Context, *site) []Finding
}{
	{"config", checkConfig},
	{"state", checkState},
	{"daemon", checkDaemon},
	{"usb", checkUSB},
}

// Look makes every check.
func Look(ctx context.Context, o Options) []Finding {
	if o.Service == "" {
		o.Service = "mfpgate"
	}
	if o.Links == nil {
		o.Links = dnssd.Links
	}
	s := &site{Options: o}
	var all []Finding
	for _, c := range checks {
		for _, f := range c.look(ctx, s) {
			f.Check = c.name
			all = append(all, f)
		}
	}
	return all
}

// checkConfig is the first: the others need what it read.
func checkConfig(_ context.Context, s *site) []Finding {
	if err := daemon.Check(s.ConfigFile); err != nil {
		var found []Finding
		if all, ok := errors.AsType[config.Errors](err); ok {
			for _, e := range all {
				fix := e.Fix
				e.Fix = ""
				found = append(found, Finding{Result: Failed, Detail: e.Error(), Fix: fix})
			}
			return found
		}
		return []Finding{{Result: Failed, Detail: err.Error(), Fix: "name the file with --config, and look as a user that may read it: root, or the service's"}}
	}
	cfg, err := config.Load(s.ConfigFile, daemon.Lookups())
	if err != nil {
		return []Finding{{Result: Failed, Detail: err.Error(), Fix: "it was good a moment ago; try again"}}
	}
	s.config = cfg
	return []Finding{{Result: Good, Detail: s.ConfigFile}}
}

// unread is the finding of a check that needs the configuration.
func unread() []Finding {
	return []Finding{{Result: Skipped, Detail: "the configuration cannot be read"}}
}
