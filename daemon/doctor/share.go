package doctor

import (
	"fmt"
	"strings"

	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/daemon"
)

// shared looks whether the site's network is told of printers that usb.share: lan shares with it: DNS-SD publishes those addresses of this
// machine that are in relay.clients, and without one it is silent, which is no failure of the daemon's.
func (s *site) shared() []Finding {
	if s.config.USB.Share != config.USBShareLAN {
		return nil
	}
	links, err := s.Links()
	if err != nil {
		return []Finding{{Result: Failed, Detail: "whether the network is told of the printers: " + err.Error(),
			Fix: "look where `ip address` works, which asks the kernel the same"}}
	}
	var own []string
	for _, link := range links {
		for _, p := range link.Prefixes {
			if daemon.MayPrint(s.config, p.Addr()) {
				return nil
			}
			if p.Addr().IsGlobalUnicast() {
				own = append(own, fmt.Sprintf("%s on %s", p, link.Name))
			}
		}
	}
	const silent = "usb.share is lan, and nobody is told of the printers: "
	if len(own) == 0 {
		return []Finding{{Result: Warning, Detail: silent + "this machine has no address on a network that carries multicast",
			Fix: "connect it to one; `ip address` shows what it has"}}
	}
	return []Finding{{Result: Warning, Detail: silent + "relay.clients has none of this machine's addresses, which are " + strings.Join(own, ", "),
		Fix: "add the network that is to print to relay.clients in " + s.ConfigFile + ", and systemctl reload mfpgate: it may use the relay then, too; " +
			"clients on other networks have to be given the printer's address by hand"}}
}
