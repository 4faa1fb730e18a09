package snmp_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery/snmp"
	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/tests/port"
)

const password = "correct horse"

// snmpd starts Debian's agent, as the caller, with the printer of testdata behind it, and returns where it listens.
func snmpd(t *testing.T) netip.AddrPort {
	t.Helper()
	program, python := need.Program(t, "snmpd"), need.Program(t, "python3")
	at := netip.MustParseAddrPort(port.FreeUDP(t, "127.0.0.1"))
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	printer := fmt.Sprintf("%s %s %s", python, filepath.Join(here, "testdata/printer.py"), filepath.Join(here, "testdata/printer.txt"))
	config := filepath.Join(dir, "agent.conf")
	if err := os.WriteFile(config, []byte(strings.NewReplacer("PRINTER", printer, "PASSWORD", password).Replace(`
rocommunity public
sysDescr KYOCERA Document Solutions Printing System
sysObjectID .1.3.6.1.4.1.1347.41
sysName frontdesk
sysLocation Lobby
createUser plain
createUser signed SHA "PASSWORD"
createUser sealed SHA-256 "PASSWORD" AES "PASSWORD"
rouser plain noauth
rouser signed auth
rouser sealed priv
pass_persist .1.3.6.1.2.1.25 PRINTER
pass_persist .1.3.6.1.2.1.43 PRINTER
pass_persist .1.3.6.1.4.1.2699 PRINTER
`)), 0o600); err != nil {
		t.Fatal(err)
	}
	// -I drops the modules that would show this machine's own devices and interfaces beside the printer's.
	cmd := exec.CommandContext(t.Context(), program, "-f", "-Lo", "-C", "-c", config, "-p", filepath.Join(dir, "pid"), "-I",
		"-hr_device,hr_print,hr_system,hr_storage,hr_network,hr_partition,hr_proc,hr_swrun,hr_swinst,hr_filesys,hr_disk,hrh_storage,"+
			"hrh_filesys,hrSWRunTable,hrSWRunPerfTable,hrSWInstalledTable,ifTable,ifXTable,ipAddr", "udp:"+at.String())
	cmd.Env = append(os.Environ(), "SNMP_PERSISTENT_DIR="+filepath.Join(dir, "kept"), "SNMPCONFPATH="+dir, "MIBS=", "MIBDIRS=")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("snmpd: %s", said.String())
		}
	})
	probe := client(t, at.Port(), within(may))
	for deadline := time.Now().Add(20 * time.Second); ; {
		_, err := probe.Identify(t.Context(), at.Addr())
		if err == nil {
			return at
		}
		if time.Now().After(deadline) {
			t.Fatalf("snmpd does not answer: %v", err)
		}
		if err := mfpgate.Wait(t.Context(), mfpgate.SystemClock{}, 20*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARealAgent(t *testing.T) {
	t.Parallel()
	at := snmpd(t)
	wantSeen := mfpgate.Sighting{
		ID: "snmp:127.0.0.1", Name: "frontdesk", Location: "Lobby", Answered: true,
		Identity:  mfpgate.Identity{Make: "KYOCERA", Model: "ECOSYS M6630cidn", Serial: "VQX8412345", SysObjectID: "1.3.6.1.4.1.1347.41"},
		Endpoints: []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolSNMP, Address: at}},
	}
	wantRead := mfpgate.Reading{
		Status: &mfpgate.PrinterStatus{State: mfpgate.PrinterIdle, Reasons: []string{"media-empty-warning", "toner-low-warning"}, Message: "Toner low."},
		Supplies: []mfpgate.Supply{
			{Index: "1", Name: "TK-5280M", Type: "tonerCartridge", Color: "magenta", Unit: "impressions", Level: 880, Max: 11000},
			{Index: "2", Name: "Waste Toner Box", Type: "wasteToner", Receives: true, Unit: "percent", Level: mfpgate.LevelSome, Max: 100},
		},
		Counters: []mfpgate.Counter{{Name: "impressions", Value: 90210}},
	}
	user := func(u snmp.User) func(*snmp.Options) {
		return func(o *snmp.Options) { o.Communities, o.Users = nil, []snmp.User{u} }
	}
	sealed := snmp.User{Name: "sealed", Auth: "sha256", AuthPassword: password, Privacy: "aes", PrivacyPassword: password}
	for _, c := range []struct {
		rule   string
		change func(*snmp.Options)
		fresh  int64 // packets for the identity of a stranger
	}{
		// The printer is the second device, so there is one exchange more than where it is the first.
		{"version 2c", nil, 3},
		{"version 3 without authentication", user(snmp.User{Name: "plain"}), 4},
		{"version 3 with authentication", user(snmp.User{Name: "signed", Auth: "sha", AuthPassword: password}), 5},
		{"version 3 with privacy", user(sealed), 5},
		{"a user that the agent does not know, then one it does", func(o *snmp.Options) {
			o.Users = []snmp.User{{Name: "nobody", Auth: "sha", AuthPassword: password}, sealed}
		}, 7},
	} {
		t.Run(c.rule, func(t *testing.T) {
			var sent atomic.Int64
			client := client(t, at.Port(), func(o *snmp.Options) {
				if c.change != nil {
					c.change(o)
				}
				o.Sent = func() { sent.Add(1) }
			})
			seen, err := client.Identify(t.Context(), at.Addr())
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(wantSeen, seen, times, cmpopts.IgnoreFields(mfpgate.Identity{}, "MAC")); diff != "" {
				t.Errorf("sighting (-want +got)\n%s", diff)
			}
			if n := sent.Swap(0); n > c.fresh {
				t.Errorf("%d packets for the identity, want at most %d", n, c.fresh)
			}
			read, err := client.Read(t.Context(), at.Addr(), all)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(wantRead, read, times); diff != "" {
				t.Errorf("reading (-want +got)\n%s", diff)
			}
			if n := sent.Load(); n != 3 {
				t.Errorf("%d packets for three parts of one that is known, want 3", n)
			}
		})
	}
	for rule, u := range map[string]snmp.User{
		"an unknown user":                  {Name: "nobody", Auth: "sha", AuthPassword: password},
		"a wrong password":                 {Name: "signed", Auth: "sha", AuthPassword: "battery staple"},
		"a level that is not allowed":      {Name: "sealed", Auth: "sha256", AuthPassword: password},
		"a user of another way of hashing": {Name: "signed", Auth: "sha512", AuthPassword: password},
	} {
		_, err := client(t, at.Port(), user(u)).Identify(t.Context(), at.Addr())
		if !errors.Is(err, snmp.ErrCredentials) {
			t.Errorf("%s: %v", rule, err)
		}
		if err != nil && strings.Contains(err.Error(), password) {
			t.Errorf("%s: the error tells the password", rule)
		}
	}
	found := 0
	scanning := client(t, at.Port(), func(o *snmp.Options) { user(sealed)(o); within(may)(o) })
	if _, err := scanning.Scan(t.Context(), []netip.Prefix{netip.MustParsePrefix("127.0.0.0/30")}, func(mfpgate.Sighting) { found++ }); err != nil || found != 1 {
		t.Errorf("a scan with a user alone found %d, %v", found, err)
	}
}
