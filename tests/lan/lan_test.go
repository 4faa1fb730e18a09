package lan_test

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/lan"
	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/tests/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

// browse returns the IPP printers that avahi shows on the gateway's host, "name host address" each.
func browse(t *testing.T, l *lan.LAN) (found []string) {
	t.Helper()
	l.Gateway().Avahi(t)
	out, _ := l.Gateway().Try(t, "avahi-browse", "-rpt", "_ipp._tcp") // fails while the name is probed for
	for line := range strings.Lines(out) {
		if f := strings.Split(line, ";"); f[0] == "=" && len(f) > 7 {
			found = append(found, f[3]+" "+f[6]+" "+f[7])
		}
	}
	return found
}

// shown waits until every one of want is shown.
func shown(t *testing.T, l *lan.LAN, want ...string) {
	t.Helper()
	rig.Until(t, fmt.Sprintf("%q are shown", want), func() bool {
		all := strings.Join(browse(t, l), "\n")
		for _, w := range want {
			if !strings.Contains(all, w) {
				return false
			}
		}
		return true
	})
}

// attributes asks a printer from the gateway's host.
func attributes(t *testing.T, l *lan.LAN, p *lan.Printer) string {
	t.Helper()
	// The printer with an attributes file fails the test's rules, but answers.
	out, _ := l.Gateway().Try(t, "ipptool", "-tv", "-T", "10", p.URI(), "get-printer-attributes.test")
	return out
}

func contains(t *testing.T, what, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%s: no %q in\n%s", what, w, text)
		}
	}
}

func TestPrintersAreFoundAndAnswer(t *testing.T) {
	t.Parallel() // it waits for the network most of the time
	begin := time.Now()
	l := lan.New(t, 4)
	plain := l.Host(1).Printer(t, lan.PrinterOptions{Name: "Copier 2F", Make: "HP", Model: "LaserJet MFP E52645", Location: "Floor 2"})
	full := l.Host(2).Printer(t, lan.PrinterOptions{Name: "Copier 3F", Make: "Canon", Model: "iR-ADV C3530", Serial: "ABC00123",
		Firmware: "10.02"})
	other := l.Host(3).Printer(t, lan.PrinterOptions{Name: "Label", Make: "Brother", Model: "QL", Port: 8631})
	t.Logf("four hosts were up after %v", time.Since(begin)) // what is slow here is slow in every test
	shown(t, l, `Copier\0322F h1.local 10.77.0.2`, `Copier\0322F h1.local fd77::2`, `Copier\0323F h2.local`, `Label h3.local`)

	contains(t, "plain", attributes(t, l, plain), "printer-uuid (uri) = urn:uuid:"+plain.UUID, "HP LaserJet MFP E52645", "Floor 2")
	contains(t, "full", attributes(t, l, full), "SN:ABC00123;", "10.02", "type=wasteToner", "level=75;colorantname=black",
		"printer-state-reasons (keyword) = none")
	full.SetSupply(t, 1, 5)
	contains(t, "low", attributes(t, l, full), "level=5;colorantname=black", "level=50;colorantname=cyan", "= toner-low-report")
	full.SetSupply(t, 0, 95)
	full.SetSupply(t, 1, 0)
	contains(t, "empty", attributes(t, l, full), "level=0;colorantname=black", "type=wasteToner;unit=percent;maxcapacity=100;level=95",
		"= marker-waste-almost-full-report,toner-empty-report")
	plain.SetSupply(t, 1, 5)
	contains(t, "plain and low", attributes(t, l, plain), "-low-report")

	before := other.UUID
	other.Restart(t, "")
	if other.UUID != before {
		t.Errorf("a printer that starts again with its name has UUID %s, and had %s", other.UUID, before)
	}
	other.Restart(t, "Labels")
	if other.UUID == before {
		t.Error("another name has the same UUID")
	}
	shown(t, l, "Labels h3.local")
	plain.Kill(t)
	rig.Until(t, "the printer that ended is withdrawn", func() bool { return !strings.Contains(strings.Join(browse(t, l), "\n"), "2F") })
}

func TestAgentAnswers(t *testing.T) {
	t.Parallel() // it waits for the network most of the time
	l := lan.New(t, 2)
	toner := mfpgate.Supply{Name: "Black Toner", Type: "toner", Color: "black", Unit: "percent", Level: 40, Max: 100}
	a := l.Host(1).SNMP(t, lan.SNMPOptions{Description: "HP ETHERNET MULTI-ENVIRONMENT", ObjectID: ".1.3.6.1.4.1.11.2.3.9.1", Name: "copier",
		Make: "HP", Model: "E52645", Serial: "JPBCN1Q0AB", Impressions: 1000, Supplies: []mfpgate.Supply{toner}, Errors: [2]byte{0x20}})
	persistent := t.TempDir() // else the client writes to its user's folder
	v2c := []string{"-v2c", "-c", lan.SNMPCommunity}
	v3 := []string{"-v3", "-l", "authPriv", "-u", lan.SNMPUser, "-a", "SHA", "-A", lan.SNMPAuthKey, "-x", "AES", "-X", lan.SNMPPrivKey}
	ask := func(how []string, address string, oids ...string) string {
		t.Helper()
		args := append([]string{"SNMP_PERSISTENT_DIR=" + persistent, "MIBS=", "snmpget", "-t2", "-r2", "-On", "-Oqv"}, how...)
		return l.Gateway().Output(t, "env", append(append(args, address), oids...)...)
	}
	const serial, level, count = ".1.3.6.1.2.1.43.5.1.1.17.1", ".1.3.6.1.2.1.43.11.1.1.9.1.1", ".1.3.6.1.2.1.43.10.2.1.4.1.1"
	for name, got := range map[string]string{
		"v1":   ask([]string{"-v1", "-c", lan.SNMPCommunity}, "10.77.0.2", serial, level, count),
		"v2c":  ask(v2c, "10.77.0.2", serial, level, count),
		"v3":   ask(v3, "10.77.0.2", serial, level, count),
		"IPv6": ask(v2c, "udp6:[fd77::2]", serial, level, count),
	} {
		if want := "\"JPBCN1Q0AB\"\n40\n1000\n"; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	contains(t, "system and bits", ask(v2c, "10.77.0.2", ".1.3.6.1.2.1.1.1.0", ".1.3.6.1.2.1.1.2.0", ".1.3.6.1.2.1.25.3.5.1.2.1", ".1.3.6.1.4.1.2699.1.2.1.2.1.1.3.1"),
		"HP ETHERNET", ".1.3.6.1.4.1.11.2.3.9.1", "20 00", "SN:JPBCN1Q0AB;")

	a.Set(t, func(o *lan.SNMPOptions) {
		o.Impressions++
		o.Supplies[0].Level = mfpgate.LevelSome
	})
	if got, want := ask(v2c, "10.77.0.2", level, count), "-3\n1001\n"; got != want {
		t.Errorf("after a change: got %q, want %q", got, want)
	}
	walk := l.Gateway().Output(t, "env", "SNMP_PERSISTENT_DIR="+persistent, "MIBS=", "snmpbulkwalk", "-v2c", "-c", lan.SNMPCommunity, "-On", "10.77.0.2", ".1.3.6.1.2.1.43")
	if n := strings.Count(walk, "\n"); n < 12 || !strings.Contains(walk, ".1.3.6.1.2.1.43.12.1.1.4.1.1 = ") {
		t.Errorf("a walk finds %d objects, or not the colorant:\n%s", n, walk)
	}
	macs := l.Gateway().Output(t, "env", "SNMP_PERSISTENT_DIR="+persistent, "MIBS=", "snmpbulkwalk", "-v2c", "-c", lan.SNMPCommunity, "-Oqv", "10.77.0.2", ".1.3.6.1.2.1.2.2.1.6")
	contains(t, "ifPhysAddress", strings.ReplaceAll(strings.ToLower(macs), " ", ":"), l.Host(1).MAC.String())
	a.Stop(t)
	a.Restart(t)
	ask(v2c, "10.77.0.2", serial)
}

// reaches reports whether the gateway's host can connect to a printer soon.
func reaches(t *testing.T, l *lan.LAN, ip netip.Addr) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	conn, err := l.Gateway().DialContext(ctx, "tcp", netip.AddrPortFrom(ip, 631).String())
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

func TestCablesAddressesAndPower(t *testing.T) {
	t.Parallel() // it waits for the network most of the time
	l := lan.New(t, 2)
	h := l.Host(1)
	p := h.Printer(t, lan.PrinterOptions{Name: "Copier", Make: "HP", Model: "E52645"})
	expect := func(what string, want bool, ip netip.Addr) {
		t.Helper()
		if want {
			rig.Until(t, fmt.Sprintf("%s: %v is reached", what, ip), func() bool { return reaches(t, l, ip) })
		} else if reaches(t, l, ip) {
			t.Errorf("%s: %v is reached", what, ip)
		}
	}
	first, second := h.V4, netip.MustParseAddr("10.77.0.200")
	expect("up", true, first)
	expect("up", true, h.V6)
	h.Unplug(t)
	expect("unplugged", false, first)
	h.Plug(t)
	expect("plugged", true, first)

	shown(t, l, "Copier h1.local 10.77.0.2")
	h.Readdress(t, second)
	if p.Address() != netip.AddrPortFrom(second, 631) {
		t.Errorf("the printer's address is %v", p.Address())
	}
	expect("readdressed", true, second)
	expect("readdressed", false, first)
	shown(t, l, "Copier h1.local 10.77.0.200")

	h.IPv6Only(t)
	expect("IPv6 only", false, second)
	expect("IPv6 only", true, h.V6)
	contains(t, "over IPv6", attributes(t, l, p), "HP E52645")

	h.PowerOff(t)
	expect("off", false, h.V6)
	h.Plug(t)
	expect("nobody there", false, h.V6)
	p.Restart(t, "")
	expect("on again", true, h.V6)
	shown(t, l, "Copier h1.local fd77::2")
}

// The real gateway is inside, and its control socket outside.
func TestGatewayRunsInside(t *testing.T) {
	t.Parallel() // it waits for the network most of the time
	l := lan.New(t, 2)
	g := rig.Start(t, "  listen: [\"10.77.0.1:3128\"]\n  clients: [10.77.0.0/24]\n  allow: [{host: 192.0.2.1, ports: [443]}]\n", l.Gateway().Inside(t))
	if uid, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.PID())); err != nil || !strings.Contains(string(uid), "Uid:\t65534\t65534") {
		t.Errorf("the gateway is not nobody: %v\n%s", err, uid)
	}
	g.Status(t)
	if g.Address != "10.77.0.1:3128" || g.Metrics == "" {
		t.Fatalf("the relay is at %q, the metrics at %q", g.Address, g.Metrics)
	}
	resp, err := l.Gateway().Client().Get("http://" + g.Metrics + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	conn, err := l.Host(1).DialContext(t.Context(), "tcp", g.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(rig.Deadline))
	if _, err := io.WriteString(conn, rig.ConnectRequest("198.51.100.7:443")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 12)
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 403" {
		t.Errorf("the relay answers %q, %v", answer, err)
	}
}

// worlds returns the network namespaces of all threads of this machine.
func worlds(t *testing.T) map[string]bool {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, path := range all {
		if ns, err := os.Readlink(path); err == nil {
			found[ns] = true
		}
	}
	return found
}

// world is the one of a host.
func world(t *testing.T, h *lan.Host) string {
	t.Helper()
	return strings.TrimSpace(h.Output(t, "readlink", "/proc/self/ns/net"))
}

func gone(t *testing.T, hosts []string) {
	t.Helper()
	rig.Until(t, fmt.Sprintf("%q are gone", hosts), func() bool {
		there := worlds(t)
		for _, h := range hosts {
			if there[h] {
				return false
			}
		}
		return true
	})
}

// busy is a network with something of each kind in it.
func busy(t *testing.T) (hosts []string) {
	l := lan.New(t, 3)
	l.Host(1).Printer(t, lan.PrinterOptions{Name: "Copier", Make: "HP", Model: "E52645"})
	l.Host(2).SNMP(t, lan.SNMPOptions{Make: "HP", Model: "E52645"})
	for i := range 3 {
		hosts = append(hosts, world(t, l.Host(i)))
	}
	for _, h := range hosts {
		if !worlds(t)[h] {
			t.Errorf("%s is not there: the test looks in the wrong place", h)
		}
	}
	return hosts
}

func TestNothingIsLeft(t *testing.T) {
	t.Parallel() // it waits for the network most of the time
	need.Root(t)
	var hosts []string
	t.Run("network", func(t *testing.T) { hosts = busy(t) })
	gone(t, hosts)
}
