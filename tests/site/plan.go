package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
)

// Some minutes after the start the region's operator wants three devices to have new firmware at once, while four others
// send their logs: seven, where five can be served. The gateway sees that as soon as it is planned.
const (
	crowdAhead   = 8 * time.Minute
	crowdDevices = 3
)

// calendarZone is the site's.
var calendarZone = time.FixedZone("Asia/Tokyo", 9*60*60)

// plan plans that, once the devices are known.
func (s *site) plan(ctx context.Context, operator string) error {
	devices, err := s.relayed(ctx)
	if err != nil {
		return err
	}
	r := regions[0]
	id, err := exec.CommandContext(ctx, filepath.Join("bin", "mfpcloud"), "package", "generate", "--state", s.dir(r.name), "--model", model,
		"--version", "2.0", "--size", packageSize).Output()
	if err != nil {
		return fmt.Errorf("make the planned package: %w", err)
	}
	add := []string{"delivery", "add", gateway, "--url", "https://" + r.listen, "--ca", filepath.Join(s.dir(r.name), "cert.pem"),
		"--operator", "operator", "--password-file", operator, "--device", strings.Join(devices, ","), "--package", strings.TrimSpace(string(id)),
		"--kind", "firmware", "--batch", "firmware-2", "--start", s.crowd.Format(time.RFC3339), "--window", "+2m/+60m", "--duration", "20s/2m", "--allow-overload"}
	for tries := 30; ; tries-- {
		err := s.do(ctx, "", "mfpcloud", add...)
		if err == nil {
			break
		}
		// The gateway tells the region of its devices a moment after it knows them.
		if tries == 0 || mfpgate.Wait(ctx, mfpgate.SystemClock{}, time.Second) != nil {
			return err
		}
	}
	s.say.line("the operator plans firmware 2.0 for %d devices at %s, when 4 others send their logs: see \"warnings\" and \"proposals\" at the cloud",
		len(devices), s.crowd.In(calendarZone).Format("15:04 MST"))
	return nil
}

// relayed waits for the first region's devices that reach their cloud through the relay, and returns their ids.
func (s *site) relayed(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		text, err := exec.CommandContext(ctx, filepath.Join("bin", "mfpgate"), "devices", "list", "--json", "--socket", filepath.Join(s.dir("gateway"), "control.sock")).Output()
		var list struct{ Items []mfpgate.Device }
		if err == nil {
			err = json.Unmarshal(text, &list)
		}
		var ids []string
		for _, d := range list.Items {
			if d.MonitoringMode == mfpgate.MonitoringProxy && d.Serial != "" && strings.HasPrefix(d.Name, regions[0].name) {
				ids = append(ids, string(d.ID))
			}
		}
		if len(ids) == crowdDevices {
			return ids, nil
		}
		if mfpgate.Wait(ctx, mfpgate.SystemClock{}, time.Second) != nil {
			return nil, fmt.Errorf("the gateway does not know the %d devices to plan for; it knows %v: %w", crowdDevices, ids, err)
		}
	}
}
