package server_test

import (
	"testing"
	"time"
)

// What an inner gateway tells of a device by the same id says nothing of the outer one's own.
func TestDeviceIDsOfOthersDoNotHideLoad(t *testing.T) {
	d := newDesk(t, "outer", "inner")
	for _, id := range []string{"dev_0", "dev_1", "dev_2"} {
		d.tell("outer", id, "proxy")
		d.tell("inner", id, "polling")
	}
	d.plan("outer", at("d0", "dev_0", tonight), at("d1", "dev_1", tonight))
	for range 16 { // it was a matter of the order of a map
		got := d.as("hana", "PUT", path("outer", "deliveries", "d2"), at("d2", "dev_2", tonight), "If-None-Match", "*")
		d.refused("a third at once", got, 409, "would-overload")
	}
	if got := d.as("hana", "PUT", path("outer", "deliveries", "d2"), at("d2", "dev_2", tonight.Add(time.Hour)), "If-None-Match", "*"); got.status != 201 {
		t.Errorf("later: %d %s", got.status, got.body)
	}
}
