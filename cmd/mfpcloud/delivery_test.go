package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/client"
)

func TestScheduleFromTheCommandLine(t *testing.T) {
	dir := t.TempDir()
	output(t, "gateway", "add", "outer", "--state", dir)
	token := output(t, "gateway", "add", "inner", "--behind", "outer", "--state", dir)
	output(t, "contract", "set", "inner", "--state", dir, "--mode", "auto", "--lead-time", "1m", "--slot", "5m", "--max-move", "24h", "--max-concurrent", "1",
		"--calendar", "FREQ=WEEKLY;BYDAY=MO,TU 08:00-18:00 0 Asia/Tokyo")
	var contract api.Contract
	check(t, json.Unmarshal([]byte(output(t, "contract", "show", "inner", "--state", dir)), &contract))
	if r := contract.CapacityCalendar; len(r) != 1 || r[0].MaxConcurrent != 0 || r[0].TimeZone != "Asia/Tokyo" || contract.LeadTime != api.Duration(time.Minute) {
		t.Errorf("contract: %+v", contract)
	}
	if out, err := child(t.Context(), "gateway", "add", "lost", "--behind", "nobody", "--state", dir).CombinedOutput(); err == nil || !bytes.Contains(out, []byte("nobody")) {
		t.Errorf("behind nobody: %v %s", err, out)
	}
	password := filepath.Join(dir, "password")
	check(t, os.WriteFile(password, []byte(output(t, "operator", "add", "hana", "--state", dir)), 0o600))
	r := serve(t, dir)
	defer func() { check(t, r.end(t, syscall.SIGTERM)) }()
	run := func(stdin string, args ...string) (string, error) {
		args = append(args, "--url", r.url, "--operator", "hana", "--password-file", password, "--ca", filepath.Join(dir, "cert.pem"))
		cmd := child(t.Context(), args...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := run("", args...)
		if err != nil {
			t.Fatalf("%v: %v %s", args, err, out)
		}
		return out
	}
	c, err := client.New(client.Options{URL: r.url, Gateway: "inner", Token: mfpgate.Secret(token), RootCAs: r.roots, Clock: mfpgate.SystemClock{}})
	check(t, err)
	defer c.Close()
	for _, id := range []string{"dev_1", "dev_2"} {
		_, err := c.PutDevice(t.Context(), api.Device{DeviceID: id, Model: "SIM-100", Serial: "SER" + id, MonitoringMode: "proxy"}, "")
		check(t, err)
	}
	add := []string{"delivery", "add", "inner", "--device", "dev_1,dev_2", "--start", "+240h", "--window", "+1h/+300h", "--duration", "9m/16m", "--retry", "2x6h", "--batch", "b"}
	if out, err := run("", add...); err == nil || !strings.Contains(out, "overload") {
		t.Errorf("two where one fits: %v %s", err, out)
	}
	ids := strings.Fields(must(append(add, "--allow-overload")...))
	if len(ids) != 2 {
		t.Fatalf("added %v", ids)
	}
	file := `[{"deviceId":"dev_1","schedule":{"local":"2098-01-01T02:00:00","timeZone":"Asia/Tokyo"}},{"deviceId":"dev_2","schedule":{"startUtc":"2098-01-02T00:00:00Z"}}]`
	if out, err := run(file, "delivery", "add", "inner", "--file", "-"); err != nil || len(strings.Fields(out)) != 2 {
		t.Errorf("a file: %v %s", err, out)
	}
	must("delivery", "cancel", "inner", ids[0])
	must("background", "set", "inner", "meter", "--cron", "0 3 * * *", "--duration", "10m", "--devices", "all")
	must("background", "set", "inner", "meter", "--cron", "0 4 * * *", "--duration", "10m", "--concurrency", "3")
	if out := must("background", "list", "outer"); !strings.Contains(out, "0 4 * * *") {
		t.Errorf("background: %s", out)
	}
	must("background", "delete", "inner", "meter")
	if out := must("delivery", "list", "outer"); strings.Contains(out, ids[0]) || !strings.Contains(out, ids[1]) || !strings.Contains(out, "inner") {
		t.Errorf("the outer one's list: %s", out)
	}
	var all api.Deliveries
	check(t, json.Unmarshal([]byte(must("delivery", "list", "inner", "--all", "--json")), &all))
	if len(all.Items) != 4 {
		t.Errorf("%d in all", len(all.Items))
	}
}
