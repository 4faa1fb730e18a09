package lan

import (
	_ "embed" // the agent's program
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/tests/rig"
)

//go:embed testdata/agent.py
var agentProgram string

// What an agent lets in: the community over SNMPv1 and v2c, and the user over v3 with SHA and AES.
const (
	SNMPCommunity = "public"
	SNMPUser      = "fleet"
	SNMPAuthKey   = "authenticates"
	SNMPPrivKey   = "keeps private"
)

// SNMPOptions say what an agent tells of its printer.
type SNMPOptions struct {
	Description string // sysDescr, hrDeviceDescr
	ObjectID    string // sysObjectID, with a leading dot; snmpd's own if it is empty
	Name        string // sysName
	Location    string // sysLocation
	// The rest may be changed by Agent.Set.
	Make        string
	Model       string // prtGeneralPrinterName is Make and Model
	Serial      string // prtGeneralSerialNumber, and in the device id of PWG 5107.2
	Impressions int64  // prtMarkerLifeCount
	Supplies    []mfpgate.Supply
	State       mfpgate.PrinterState // idle if it is empty
	Errors      [2]byte              // hrPrinterDetectedErrorState (RFC 2790): bit 0 is the first byte's highest
	Console     string               // prtConsoleDisplayBufferText
	Alerts      []PrtAlert
	Endless     bool // the table of supplies has always one row more
}

// PrtAlert is a row of prtAlertTable (RFC 3805), in the numbers of its types.
type PrtAlert struct {
	Severity, Group, Code int
	Text                  string
}

// Agent is an snmpd on UDP port 161 of a host. System and interfaces are snmpd's own, of the host as it is; the host
// resources and the printer's tables are the options'.
type Agent struct {
	host    *Host
	options SNMPOptions
	table   string
	program *program
}

// SNMP starts an agent. It answers when this returns.
func (h *Host) SNMP(t testing.TB, o SNMPOptions) *Agent {
	t.Helper()
	dir := filepath.Join(h.dir, "snmp")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	a := &Agent{host: h, options: o, table: filepath.Join(dir, "table")}
	a.start(t)
	return a
}

// unwanted are snmpd's modules for the host resources, which are the table's.
const unwanted = "-hr_device,hr_print,hr_system,hr_storage,hr_network,hr_partition,hr_proc,hr_swrun,hr_swinst,hr_filesys,hr_disk," +
	"hrh_storage,hrh_filesys,hrSWRunTable,hrSWRunPerfTable,hrSWInstalledTable"

func (a *Agent) start(t testing.TB) {
	t.Helper()
	snmpd, python := need.Program(t, "snmpd"), need.Program(t, "/usr/bin/python3")
	dir := filepath.Dir(a.table)
	a.Set(t, func(*SNMPOptions) {})
	program := filepath.Join(dir, "agent.py")
	conf := "agentaddress udp:161,udp6:161\nrocommunity " + SNMPCommunity + "\nrocommunity6 " + SNMPCommunity + "\n" +
		fmt.Sprintf("createUser %[1]s SHA %[2]q AES %[3]q\nrouser %[1]s authpriv\n", SNMPUser, SNMPAuthKey, SNMPPrivKey)
	for _, line := range []struct{ key, value string }{{"sysDescr", a.options.Description}, {"sysObjectID", a.options.ObjectID},
		{"sysName", a.options.Name}, {"sysLocation", a.options.Location}} {
		if line.value != "" {
			conf += line.key + " " + line.value + "\n"
		}
	}
	for _, oid := range []string{".1.3.6.1.2.1.25", ".1.3.6.1.2.1.43", ".1.3.6.1.4.1.2699"} {
		conf += fmt.Sprintf("pass_persist %s %s %s %s\n", oid, python, program, a.table)
	}
	for name, text := range map[string]string{program: agentProgram, filepath.Join(dir, "snmpd.conf"): conf} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"MIBS=", "MIBDIRS=", "SNMP_PERSISTENT_DIR=" + dir, "SNMPCONFPATH=" + filepath.Join(dir, "none")}
	a.program = a.host.start(t, "snmpd", "NET-SNMP version", env,
		snmpd, "-f", "-Lo", "-C", "-c", filepath.Join(dir, "snmpd.conf"), "-p", filepath.Join(dir, "pid"), "-I", unwanted)
	// It says so some time before it listens to anybody, and a scan comes by once an hour.
	rig.Until(t, a.program.name+" answers", func() bool {
		_, err := a.host.Try(t, "env", "MIBS=", "SNMP_PERSISTENT_DIR="+filepath.Join(dir, "client"), need.Program(t, "snmpget"), "-v2c", "-c", SNMPCommunity,
			"-t", "1", "-r", "0", "127.0.0.1", ".1.3.6.1.2.1.25.3.2.1.2.1")
		return err == nil
	})
}

// Set changes what the agent tells, from the next request on.
func (a *Agent) Set(t testing.TB, change func(*SNMPOptions)) {
	t.Helper()
	change(&a.options)
	text, err := a.options.table()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.table+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(a.table+".new", a.table); err != nil {
		t.Fatal(err)
	}
}

// Stop ends the agent; requests are then refused by the host.
func (a *Agent) Stop(t testing.TB) {
	t.Helper()
	a.program.stop(t, syscall.SIGTERM)
}

// Restart starts the agent anew, if need be after it was stopped: sysUpTime begins again.
func (a *Agent) Restart(t testing.TB) {
	t.Helper()
	a.Stop(t)
	a.start(t)
}
