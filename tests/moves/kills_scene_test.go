package moves_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/tests/regions"
)

// killPatience is for what waits out several processes that are started again.
const killPatience = 4 * time.Minute

// killScene is a scene behind fronts, whose processes are killed.
type killScene struct {
	*scene
	*front
	t      *testing.T
	dir    string // of the gateway
	random *rand.Rand
	down   chan string             // who was killed: jp, us, gateway or the MFP of a device
	dead   func(r *regions.Region) // what is done to a region that was killed, before it is started again; nil: nothing

	victims  sync.Mutex // guards what follows, for the front
	gateway  int        // process id; 0: it is down
	machines map[string]*device
}

// newKillScene has n devices that are registered in us and that the gateway knows. Of a hundred messages so many
// meet trouble.
func newKillScene(t *testing.T, network string, n, trouble int) *killScene {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	k := &killScene{front: newFront(seed), t: t, random: rand.New(rand.NewPCG(seed, 8)), down: make(chan string, 64), machines: map[string]*device{}}
	t.Cleanup(k.front.close)
	k.front.kill, k.front.abort = k.strikes, k.aborts
	k.scene = open(t, options{network: network, start: n, devices: n, front: k.front.open(network)})
	k.dir = k.Gateway.Dir
	k.victims.Lock()
	k.gateway = k.Gateway.PID()
	for mfp, d := range k.scene.devices {
		k.machines[mfp] = d
	}
	k.victims.Unlock()
	known := map[string]mfpgate.DeviceID{}
	k.wait("the gateway knows all devices, and us holds their data", func() bool {
		var page struct{ Items []mfpgate.Device }
		if k.ctl(t, &page, "devices", "list") != nil {
			return false
		}
		for _, d := range page.Items {
			if d.Serial != "" {
				known[d.Name] = d.ID
			}
		}
		for i := range n {
			if known[name(i+1)] == "" || len(k.told(mfp(i+1)).items) < classes {
				return false
			}
		}
		return true
	})
	k.front.mu.Lock()
	for i := range n {
		k.front.devices[known[name(i+1)]] = mfp(i + 1)
	}
	k.trouble = trouble
	k.front.mu.Unlock()
	return k
}

// wait is rig.Until with more patience; who is down is started again meanwhile.
func (k *killScene) wait(what string, reached func() bool) {
	k.t.Helper()
	late := time.NewTimer(killPatience)
	defer late.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !reached() {
		select {
		case who := <-k.down:
			k.revive(who)
		case <-again.C:
		case <-late.C:
			moves, _ := json.Marshal(k.all())
			k.t.Fatalf("after %v still not: %s\nmoves: %s", killPatience, what, moves)
		}
	}
}

// strikes kills one or several processes, for the front. Regions are dead when it returns.
func (k *killScene) strikes(victim, mfp string) {
	k.victims.Lock()
	defer k.victims.Unlock()
	for one := range strings.SplitSeq(victim, "+") {
		k.strikeOne(one, mfp)
	}
}

// strikeOne is called with victims locked.
func (k *killScene) strikeOne(victim, mfp string) {
	switch victim {
	case "jp":
		k.JP.Kill()
	case "us":
		k.US.Kill()
	case "gateway":
		if k.gateway == 0 {
			return
		}
		_ = syscall.Kill(k.gateway, syscall.SIGKILL)
		k.gateway = 0
	case "device":
		victim = mfp
		if k.machines[mfp] == nil {
			return
		}
		_ = k.machines[mfp].cmd.Process.Kill()
		k.machines[mfp] = nil
	}
	k.down <- victim
}

// revive starts who was killed again, after a while.
func (k *killScene) revive(who string) {
	k.t.Helper()
	pause := time.NewTimer(time.Duration(k.random.IntN(1500)) * time.Millisecond)
	defer pause.Stop()
	<-pause.C
	switch who {
	case "jp", "us":
		r := map[string]*regions.Region{"jp": k.JP, "us": k.US}[who]
		if k.dead != nil {
			k.dead(r)
		}
		if err := r.Start(k.t.Context()); err != nil {
			k.t.Fatal(err)
		}
	case "gateway":
		if code, stderr := k.Gateway.Exit(k.t); code != -1 {
			k.t.Fatalf("the gateway ended by itself with %d: %s", code, stderr)
		}
		k.startGateway(k.t, k.dir)
		k.victims.Lock()
		k.gateway = k.Gateway.PID()
		k.victims.Unlock()
	default:
		var n int
		if _, err := fmt.Sscanf(who, "us-mfp-%d", &n); err != nil {
			k.t.Fatal(err)
		}
		d := k.scene.start(k.t, n)
		k.victims.Lock()
		k.machines[who] = d
		k.victims.Unlock()
	}
}

// operator asks a role of a region as its operator, past the front.
func (k *killScene) operator(r *regions.Region, address, method, path string, into any) error {
	password, err := os.ReadFile(r.Password)
	if err != nil {
		return err
	}
	status, text, err := k.fetch(method, address, path, func(q *http.Request) { q.SetBasicAuth(regions.Operator, strings.TrimSpace(string(password))) })
	if err != nil {
		return err
	}
	if status > 299 {
		return fmt.Errorf("%s %s: %d %s", method, path, status, text)
	}
	return json.Unmarshal(text, into)
}

func (k *killScene) management(r *regions.Region) string {
	return strings.TrimPrefix(r.URL, "https://")
}

// services is where a region's services listen.
func (k *killScene) services(r *regions.Region) string {
	return strings.Replace(k.management(r), ".1:", ".2:", 1)
}

func (k *killScene) aborts(id mfpgate.MoveID) {
	var m mfpgate.Move
	if err := k.operator(k.JP, k.management(k.JP), http.MethodPost, "/v1/moves/"+string(id)+"/abort", &m); err != nil {
		k.t.Logf("abort %s: %v", id, err)
	}
}

// all are the moves to jp, by MFP; nil while jp does not answer.
func (k *killScene) all() map[string]mfpgate.Move {
	var page api.Page[mfpgate.Move]
	if k.operator(k.JP, k.management(k.JP), http.MethodGet, "/v1/moves?limit=500", &page) != nil {
		return nil
	}
	list := map[string]mfpgate.Move{}
	for _, m := range page.Items {
		list[m.MFP] = m
	}
	return list
}

// begin has the nth device moved. Who got no answer asks again.
func (k *killScene) begin(n int) {
	k.t.Helper()
	var id mfpgate.DeviceID
	k.front.mu.Lock()
	for d, of := range k.front.devices {
		if of == mfp(n) {
			id = d
		}
	}
	k.front.mu.Unlock()
	var last error
	defer func() {
		if k.t.Failed() {
			k.t.Log("the last refusal:", last)
		}
	}()
	k.wait("a move of "+mfp(n), func() bool {
		if all := k.all(); all == nil || all[mfp(n)].ID != "" {
			return all != nil
		}
		var plan mfpgate.MovePlan
		if last = k.ctl(k.t, &plan, "moves", "plan", string(id)); last != nil {
			return false
		}
		var m mfpgate.Move
		last = k.ctl(k.t, &m, "moves", "start", string(id), "--plan", plan.Hash)
		return false
	})
}

// round moves the nth device, and has a process killed at a moment of that.
func (k *killScene) round(n int, s strike) {
	k.t.Helper()
	began := time.Now()
	k.arm(s, mfp(n))
	k.begin(n)
	k.wait(s.String()+": the end of its victim", k.struck)
	for { // who was killed is on its feet before the next is
		select {
		case who := <-k.down:
			k.revive(who)
			continue
		default:
		}
		break
	}
	m := k.all()[mfp(n)]
	k.t.Logf("%s: killed; %v later the move is %s in step %s", s, time.Since(began).Round(10*time.Millisecond), m.State, m.Step)
}
