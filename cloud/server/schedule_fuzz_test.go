package server_test

import (
	"net/http"
	"testing"
	"time"
)

// FuzzScheduleBodies sends arbitrary bodies to all that takes one. None may be answered with the server's own failure, and after it the
// schedule can still be read.
func FuzzScheduleBodies(f *testing.F) {
	for _, body := range []string{
		``, `null`, `{}`, `[]`, `{"items":null}`,
		`{"deliveryId":"d1","deviceId":"dev_1","schedule":{"startUtc":"2026-11-02T00:00:00Z"}}`,
		`{"deliveryId":"d1","deviceId":"dev_1","schedule":{"local":"2026-12-02T02:00:00","timeZone":"Europe/Berlin","rrule":"FREQ=DAILY;COUNT=3"},"window":{"blackouts":[{"from":"2026-12-01T00:00:00Z","to":"2026-12-02T00:00:00Z"}]}}`,
		`{"items":[{"deviceId":"dev_1","schedule":{"startUtc":"2026-11-02T00:00:00Z"},"duration":{"p50":"PT1H","p95":"P9D"},"retry":{"interval":"PT1S","max":9}}]}`,
		`{"serviceId":"s","cron":"0 3 * * *","duration":"PT10M","devices":"all"}`,
		`{"reportId":"r","computedAt":"2026-11-01T00:00:00Z","horizon":{"from":"2026-11-01T00:00:00Z","to":"2026-12-01T00:00:00Z"},"inputs":{"contractEtag":"","deltaToken":"","backgroundEtag":"","tzdata":""},"bands":[{"bandId":"b","from":"2026-11-01T00:00:00Z","to":"2026-11-01T01:00:00Z","capacity":1,"peak":2,"peakAt":"2026-11-01T00:00:00Z","excessDeviceSeconds":1,"certainty":"risk","probability":0.5,"contributors":[],"mustMove":1,"text":""}]}`,
		`{"proposalId":"p","changes":[{"changeId":"c","deliveryId":"d0","ifMatch":"\"1\"","from":"2026-11-01T22:00:00Z","to":"2026-11-01T23:00:00Z","moveBy":"PT1H","reason":{"code":"OVERLOAD","text":""}}],"unresolved":[],"quality":{"unresolved":0,"unresolvedLB":0,"moved":1,"movedLB":1,"displacement":"PT1H","displacementLB":"PT1H","status":"optimal","gap":0,"solver":"flow","seed":1}}`,
		`{"accept":"all"}`, `{"accept":["c"],"reject":[{"id":"d","reason":"x"}]}`,
		`{"action":"ignoreUntil","until":"2026-12-01T00:00:00Z"}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		d := newDesk(t, "osaka-1")
		d.tell("osaka-1", "dev_1", "proxy")
		d.plan("osaka-1", at("d0", "dev_1", tonight))
		for _, c := range []struct{ who, method, path string }{
			{"hana", "POST", "deliveries"}, {"hana", "POST", "deliveries:batch"}, {"hana", "PUT", "deliveries/d1"}, {"hana", "PUT", "background-schedules/s"},
			{"osaka-1", "PUT", "overload-reports/r"}, {"osaka-1", "POST", "change-proposals"}, {"hana", "POST", "change-proposals/p/decision"},
			{"hana", "POST", "warnings/b/actions"},
		} {
			if got := d.as(c.who, c.method, path("osaka-1", c.path), body, "If-None-Match", "*", "If-Match", ""); got.status >= 500 {
				t.Errorf("%s %s: %d %s", c.method, c.path, got.status, got.body)
			}
		}
		for _, p := range []string{"deliveries", "background-schedules", "warnings", "change-proposals", "events",
			"capacity?from=" + noon.Format(time.RFC3339) + "&to=" + tonight.Format(time.RFC3339)} {
			if got := d.as("hana", http.MethodGet, path("osaka-1", p), nil); got.status != 200 {
				t.Errorf("%s afterwards: %d %s", p, got.status, got.body)
			}
		}
	})
}
