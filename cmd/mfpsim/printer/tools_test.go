package printer_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer/printertest"
	"github.com/mfpgate/mfpgate/tests/need"
)

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MIBS=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func TestIPPToolIsContent(t *testing.T) {
	tool := need.Program(t, "ipptool")
	s := printertest.Start(t, printer.SiteOptions{})
	p := printertest.Add(t, s, printer.Options{Addresses: addr("127.0.9.30"), Serial: "S"})
	uri := "ipp://" + p.IPP().String() + "/ipp/print"
	for _, suite := range []string{"get-printer-attributes.test", "get-jobs.test"} {
		run(t, tool, "-t", uri, suite)
	}
	out := run(t, tool, "-tv", uri, "get-printer-attributes.test")
	for _, want := range []string{
		"printer-serial-number (textWithoutLanguage) = S", "printer-impressions-completed-col (collection) = {monochrome=0 full-color=0}",
		"marker-levels (1setOf integer) = 80,70,60,50,10,80", "media-col-database (collection) = {media-size={x-dimension=21000 y-dimension=29700}}",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("ipptool does not show %q:\n%s", want, out)
		}
	}
}

func TestSNMPWalkWalksAll(t *testing.T) {
	tool := need.Program(t, "snmpwalk")
	s := printertest.Start(t, printer.SiteOptions{})
	p := printertest.Add(t, s, printer.Options{Addresses: addr("127.0.9.31"), Serial: "S", Location: "2F"})
	p.SetReasons("media-low-warning", "cover-open-error")
	t.Setenv("SNMP_PERSISTENT_DIR", t.TempDir()) // else the tool writes to the machine's
	walks := map[string]string{}
	for _, version := range []string{"1", "2c"} {
		walks[version] = run(t, tool, "-v"+version, "-c", "public", "-On", "-r0", p.SNMP().String(), ".1")
	}
	// Time passes between the walks.
	without := func(text string) (kept []string) {
		for line := range strings.Lines(text) {
			if !strings.Contains(line, "Timeticks") && !strings.Contains(line, "No more variables") && !strings.HasPrefix(line, "Created directory") && line != "End of MIB\n" {
				kept = append(kept, line)
			}
		}
		return kept
	}
	if got, want := strings.Join(without(walks["1"]), ""), strings.Join(without(walks["2c"]), ""); got != want || len(without(walks["1"])) < 90 {
		t.Errorf("v1 walk:\n%s\nv2c walk:\n%s", got, want)
	}
	for _, want := range []string{
		".1.3.6.1.2.1.1.6.0 = STRING: \"2F\"\n", ".1.3.6.1.2.1.25.3.5.1.2.1 = Hex-STRING: 88 \n", ".1.3.6.1.2.1.25.3.2.1.2.1 = OID: .1.3.6.1.2.1.25.3.1.5\n",
		".1.3.6.1.2.1.43.11.1.1.9.1.5 = INTEGER: 10\n", ".1.3.6.1.2.1.43.18.1.1.7.1.1 = INTEGER: 3\n", ".1.3.6.1.2.1.43.18.1.1.7.1.2 = INTEGER: 807\n",
		fmt.Sprintf("= STRING: %q\n", "MFG:Simulated;MDL:SIM-100;CMD:PDF,PWGRaster,URF,PCL,PS;CLS:PRINTER;SN:S;"),
	} {
		if !strings.Contains(walks["2c"], want) {
			t.Errorf("the walk lacks %q:\n%s", want, walks["2c"])
		}
	}
}
