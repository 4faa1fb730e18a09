package server_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// What nobody could plan is refused with a reason before it is there, whatever is allowed; if time makes it so, operators are told
// why nothing can be saved, and may cancel.
func TestScheduleThatCannotBePlanned(t *testing.T) {
	d := newDesk(t, "osaka-1")
	each := func(local string) (list []api.Delivery) {
		for i := range 90 {
			x := at(fmt.Sprint("m", i), fmt.Sprint("dev_", i), tonight)
			x.Schedule = api.Schedule{Local: local, TimeZone: "UTC", RRule: "FREQ=MINUTELY"}
			list = append(list, x)
		}
		return list
	}
	for i := range 100 {
		d.tell("osaka-1", fmt.Sprint("dev_", i), "proxy")
	}
	batch := func(list []api.Delivery) reply {
		return d.as("hana", "POST", path("osaka-1", "deliveries:batch")+"?allowOverload=true", map[string]any{"items": list})
	}
	save := func(start time.Time) reply {
		return d.as("hana", "PUT", path("osaka-1", "deliveries", "x"), at("x", "dev_99", start), "If-None-Match", "*")
	}
	d.refused("by the minute, ninety times", batch(each("2026-11-02T00:00:00")), 409, "too-many")
	d.refused("all devices by the minute", d.as("hana", "PUT", path("osaka-1", "background-schedules", "meter"),
		map[string]any{"serviceId": "meter", "kind": "meterRead", "cron": "* * * * *", "devices": "all", "duration": "PT30S"}, "If-None-Match", "*"), 409, "too-many")
	if got := batch(each("2026-12-12T00:00:00")); got.status != 201 { // beyond what is planned now
		t.Fatalf("%d %.300s", got.status, got.body)
	}
	d.clock.Advance(40 * 24 * time.Hour)
	later := d.clock.Now().Add(10 * time.Hour)
	d.refused("beside what cannot be planned", save(later), 409, "too-many")
	for i := range 90 {
		w := d.get("osaka-1", fmt.Sprint("m", i))
		w.State = "cancelled"
		if got := d.as("hana", "PUT", path("osaka-1", "deliveries", w.DeliveryID), w, "If-Match", "*"); got.status != 200 {
			t.Fatalf("cancel: %d %.300s", got.status, got.body)
		}
	}
	if got := save(later); got.status != 201 {
		t.Errorf("afterwards: %d %.300s", got.status, got.body)
	}
}
