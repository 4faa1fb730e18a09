package console_test

import (
	"encoding/json"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/mfpgate/mfpgate/tests/usb/cmd/console"
	"github.com/mfpgate/mfpgate/tests/usb/membus"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// carrier is a bus in the process.
type carrier struct{ *membus.Bus }

func (c carrier) Plug(p *model.Printer, port string) (console.Plugged, error) {
	return plugged{c.Bus.Plug(p.Device, bus.Port(port))}, nil
}

type plugged struct{ *membus.Plugged }

func (p plugged) Unplug() error {
	p.Plugged.Unplug()
	return nil
}

func TestCommands(t *testing.T) {
	b := membus.New()
	c := console.New(carrier{b})
	var out strings.Builder
	for _, tc := range []struct{ say, want string }{
		{"plug hp - 1-1 id=empty vid=03f0 pid=0c17", "ok"},
		{"plug composite S1 1-2", "ok"},
		{"plug composite S1 1-2", "error: plug: something is plugged into port 1-2"},
		{"plug teapot S1 1-3", "error: plug: no layout teapot; there are [composite alternates pairs hp unidirectional bidirectional]"},
		{"pause 1-2 01", "ok"},
		{"resume 1-2 01", "ok"},
		{"halt 1-2 81", "ok"},
		{"fault 1-2 01 stall after=100 times=2", "ok"},
		{"fault 1-2 01 teapot", "error: fault: kinds are [stall nak zero-read overflow no-memory failure unplug paper-out]"},
		{"fault 1-2 05 stall", "error: fault: no endpoint 05"},
		{"split 1-2 0 1 511", "ok"},
		{"silence 1-2 on", "ok"},
		{"silence 1-2", "error: silence: on or off, of a raw port that answers"},
		{"paper 1-2 out", "ok"},
		{"answer 1-2 status=503 delay=1ms", "ok"},
		{"hold 1-2 0", "error: hold: this carrier does not play the host"},
		{"unplug 1-1", "ok"},
		{"back 1-1", "ok"},
		{"back 1-1", "error: back: the printer is plugged into port 1-1"},
		{"take 1-2", `ok {"bytes":0,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}`},
		{"dance 1-1", "error: no command dance"},
		{"pause 1-9 01", "error: pause: nothing was ever plugged into port 1-9"},
		{"", "error: no command"},
	} {
		out.Reset()
		if err := c.Run(strings.NewReader(tc.say+"\n"), &out); err != nil || out.String() != tc.want+"\n" {
			t.Errorf("%s: %q %v, want %q", tc.say, out.String(), err, tc.want)
		}
	}
	answer, err := c.Do("stats")
	var stats []console.Stats
	if err != nil || json.Unmarshal([]byte(answer), &stats) != nil || len(stats) != 2 {
		t.Fatal(answer, err)
	}
	if s := stats[1]; s.Code != model.CodePaperOut || s.Faults["01"] != 1 || !s.Plugged || s.Serial != "S1" {
		t.Errorf("%+v", s)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
