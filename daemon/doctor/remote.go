package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon"
	"github.com/mfpgate/mfpgate/daemon/control"
)

const (
	patience  = 5 * time.Second
	maxAnswer = 64 << 20 // bytes
)

func checkDaemon(ctx context.Context, s *site) []Finding {
	if s.config != nil {
		own := daemon.ControlSocket(func(string) string { return "" }, s.config.StateDir)
		if _, err := os.Stat(s.Socket); errors.Is(err, fs.ErrNotExist) {
			if _, err := os.Stat(own); err == nil {
				s.Socket = own
			}
		}
	}
	var status control.Status
	if err := s.ask(ctx, "status", &status); err != nil {
		switch {
		case errors.Is(err, fs.ErrPermission), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
			return []Finding{{Result: Skipped, Detail: "this user may not ask the daemon; look as root or as " + s.Service}}
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
			return []Finding{{Result: Warning, Detail: "it does not run: nobody answers on " + s.Socket, Fix: "systemctl start mfpgate, or name its socket with --socket"}}
		}
		return []Finding{{Result: Failed, Detail: "it does not answer: " + err.Error(), Fix: "journalctl -u mfpgate says why"}}
	}
	s.status = &status
	found := []Finding{{Result: Good, Detail: fmt.Sprintf("%s runs since %s", status.Version, status.StartedAt.UTC().Format(time.DateTime+"Z"))}}
	for _, d := range status.Degraded {
		if s.config != nil && s.config.USB.Enabled && (d.Reason == daemon.USBAccess || d.Reason == daemon.USBBusy) {
			continue // the check of USB says it of each printer
		}
		what, fix, _ := strings.Cut(d.Text, "; ")
		if fix == "" {
			fix = "docs/operating.md says what " + string(d.Reason) + " means"
		}
		found = append(found, Finding{Result: Warning, Detail: string(d.Reason) + ": " + what, Fix: fix})
	}
	return found
}

// printers are those that the daemon has on USB, by port.
func (s *site) printers(ctx context.Context) ([]mfpgate.Device, error) {
	var list struct{ Items []mfpgate.Device }
	if err := s.ask(ctx, "devices", &list); err != nil {
		return nil, err
	}
	found := slices.DeleteFunc(list.Items, func(d mfpgate.Device) bool { return d.USB == nil })
	slices.SortFunc(found, func(a, b mfpgate.Device) int { return strings.Compare(a.USB.Bus, b.USB.Bus) })
	return found, nil
}

func (s *site) ask(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://mfpgate/api/v1/"+path, nil)
	if err != nil {
		return err
	}
	resp, err := control.Client(s.Socket).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /api/v1/%s: %s", path, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("GET /api/v1/%s: %w", path, err)
	}
	return nil
}
