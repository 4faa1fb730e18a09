package pjl_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/raw/pjl"
)

func TestParserCutsMessages(t *testing.T) {
	for _, test := range []struct {
		rule, in string
		want     []pjl.Message
	}{
		{"a form feed ends a message", "@PJL INFO STATUS\r\nCODE=10001\r\n\f", []pjl.Message{{Command: "INFO", Rest: "STATUS", Lines: []string{"CODE=10001"}}}},
		{"a line end may be a line feed alone", "@PJL USTATUS JOB\nSTART\n\f", []pjl.Message{{Command: "USTATUS", Rest: "JOB", Lines: []string{"START"}}}},
		{"the last line may have no end", "@PJL USTATUS JOB\r\nEND\r\nRESULT=OK\f", []pjl.Message{{Command: "USTATUS", Rest: "JOB", Lines: []string{"END", "RESULT=OK"}}}},
		{"the next message ends one that has no form feed", "@PJL USTATUS PAGE\r\n1\r\n@PJL USTATUS PAGE\r\n2\r\n\f",
			[]pjl.Message{{Command: "USTATUS", Rest: "PAGE", Lines: []string{"1"}}, {Command: "USTATUS", Rest: "PAGE", Lines: []string{"2"}}}},
		{"what is before a message is left out", "%%[ Error: undefined ]%%\r\n\f\x04@PJL ECHO 12:07 now\r\n\f", []pjl.Message{{Command: "ECHO", Rest: "12:07 now"}}},
		{"an end of no message is none", "\f\f\r\n\f", nil},
		{"case does not count", "@pjl info status\r\n\f", []pjl.Message{{Command: "INFO", Rest: "status"}}},
		{"control characters and broken text do not pass", "@PJL INFO STATUS\r\nDISPLAY=\"\x1b[2J\xffa\x00b\"\r\n\f",
			[]pjl.Message{{Command: "INFO", Rest: "STATUS", Lines: []string{"DISPLAY=\" [2J\uFFFDa b\""}}}},
	} {
		t.Run(test.rule, func(t *testing.T) {
			for _, step := range []int{1, 3, len(test.in)} { // however it is cut into packets
				var p pjl.Parser
				var got []pjl.Message
				for rest := test.in; rest != ""; {
					k := min(step, len(rest))
					got = append(got, p.Feed([]byte(rest[:k]))...)
					rest = rest[k:]
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("in packets of %d (-want +got):\n%s", step, diff)
				}
			}
		})
	}
}

func TestParserKeepsBounds(t *testing.T) {
	var p pjl.Parser
	p.Feed([]byte("@PJL INFO VARIABLES\r\n" + strings.Repeat(strings.Repeat("x", 10*pjl.MaxLine)+"\n", 10*pjl.MaxLines)))
	got := p.Flush()
	if len(got) != 1 || len(got[0].Lines) != pjl.MaxLines || len(got[0].Lines[0]) != pjl.MaxLine {
		t.Errorf("got %d messages, of %d lines; want 1 of %d lines of %d bytes", len(got), len(got[0].Lines), pjl.MaxLines, pjl.MaxLine)
	}
	if again := p.Flush(); again != nil {
		t.Errorf("a second Flush gave %v", again)
	}
}

func TestCount(t *testing.T) {
	for in, want := range map[string]int64{
		"@PJL INFO PAGECOUNT\r\nPAGECOUNT=183933\r\n\f": 183933, // HP LaserJet 4 and later
		"@PJL INFO PAGECOUNT\r\n183933\r\n\f":           183933, // others
		"@PJL INFO PAGECOUNT\r\nPAGECOUNT = 7\r\n\f":    7,
		"@PJL INFO PAGECOUNT\r\n?\r\n\f":                -1,
		"@PJL INFO PAGECOUNT\r\n-5\r\n\f":               -1,
		"@PJL INFO PAGECOUNT\r\n\f":                     -1,
	} {
		var p pjl.Parser
		got, ok := p.Feed([]byte(in))[0].Count()
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q: got %d, want %d", in, got, want)
		}
	}
}

func TestStatus(t *testing.T) {
	stopped := func(message string, reasons ...string) *mfpgate.PrinterStatus {
		return &mfpgate.PrinterStatus{State: mfpgate.PrinterStopped, Reasons: reasons, Message: message}
	}
	for _, test := range []struct {
		rule, in string
		want     *mfpgate.PrinterStatus // nil: it says nothing of the printer
	}{
		{"ready (HP 7)", "INFO STATUS\nCODE=10001\nDISPLAY=\"00 READY\"\nONLINE=TRUE", &mfpgate.PrinterStatus{State: mfpgate.PrinterIdle, Message: "00 READY"}},
		{"open (HP 7)", "USTATUS DEVICE\nCODE=40021\nDISPLAY=\"12 PRINTER OPEN\"\nONLINE=FALSE", stopped("12 PRINTER OPEN", "cover-open-error")},
		{"a jam (Panasonic KX-P7200)", "USTATUS DEVICE\nCODE=40022\nDISPLAY=\"ERROR:PAPER JAM\"\nONLINE=FALSE", stopped("ERROR:PAPER JAM", "media-jam-error")},
		{"a jam at a place (HP D)", "USTATUS DEVICE\nCODE=42203", stopped("", "media-jam-error")},
		{"load paper (HP D)", "USTATUS DEVICE\nCODE=41202\nDISPLAY=\"LOAD TRAY 2 LETTER\"\nONLINE=FALSE", stopped("LOAD TRAY 2 LETTER", "media-empty-error")},
		{"one tray is empty, another serves (HP D)", "USTATUS DEVICE\nCODE=11202\nONLINE=TRUE", &mfpgate.PrinterStatus{State: mfpgate.PrinterUnknown, Reasons: []string{"media-empty-warning"}}},
		{"bin 3 is full (HP D)", "USTATUS DEVICE\nCODE=15031", stopped("", "output-area-full-error")},
		{"toner low", "USTATUS DEVICE\nCODE=10006\nDISPLAY=\"16 TONER LOW\"\nONLINE=TRUE", &mfpgate.PrinterStatus{State: mfpgate.PrinterIdle, Reasons: []string{"toner-low-warning"}, Message: "16 TONER LOW"}},
		{"two conditions at once", "INFO STATUS\nCODE=10006\nCODE2=40021\nONLINE=FALSE", stopped("", "cover-open-error", "toner-low-warning")},
		{"off line", "INFO STATUS\nCODE=10002\nDISPLAY=\"OFFLINE\"\nONLINE=FALSE", stopped("OFFLINE", "offline-report")},
		{"off line by its word alone", "INFO STATUS\nONLINE=FALSE", stopped("", "offline-report")},
		{"hardware (HP D)", "USTATUS DEVICE\nCODE=50002\nDISPLAY=\"50 SERVICE\"\nONLINE=FALSE", stopped("50 SERVICE", "other-error")},
		{"an error of a command is not the printer's", "USTATUS DEVICE\nCODE=20002", nil},
		{"a code that is no number", "INFO STATUS\nCODE=ten", nil},
		{"a code beyond the groups", "INFO STATUS\nCODE=99999999999999999999\nCODE2=61234\nCODE12=40021", nil},
		{"another answer", "INFO ID\n\"LASERJET 4\"", nil},
		{"a category that it does not know", "INFO STATUS\n?", nil},
	} {
		t.Run(test.rule, func(t *testing.T) {
			var p pjl.Parser
			status, ok := p.Feed([]byte("@PJL " + test.in + "\n\f"))[0].Status()
			var got *mfpgate.PrinterStatus
			if ok {
				got = &status
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestJobName(t *testing.T) {
	for _, test := range []struct{ rule, name, want string }{
		{"a name and its mark", "report.pdf", "report.pdf [7]"},
		{"no name", "", "[7]"},
		{"what would end the command is replaced", "a\"\r\n@PJL RESET\x1b%-12345X", "a'__@PJL RESET_%-12345X [7]"},
		{"not ASCII", "報告", "__ [7]"},
		{"80 bytes count, and the mark is one of them", strings.Repeat("n", 200), strings.Repeat("n", 76) + " [7]"},
	} {
		if got := pjl.JobName(test.name, "[7]"); got != test.want {
			t.Errorf("%s: got %q, want %q", test.rule, got, test.want)
		}
	}
}

func TestLanguage(t *testing.T) {
	for _, test := range []struct {
		format, set, want string
	}{
		{"application/pdf", "PJL,PCL,PDF", "PDF"},
		{"application/pdf", "PJL,PCL", ""},
		{"application/postscript", "PJL,POSTSCRIPT LEVEL 3", "POSTSCRIPT"},
		{"application/postscript", "PJL,PCL", ""},
		{"application/vnd.hp-PCL", "PJL,PCL5e", "PCL"},
		{"application/vnd.hp-PCLXL", "PJL,PCL,PCLXL", "PCLXL"},
		{"image/urf", "PJL,URF", ""},
		{"application/octet-stream", "PJL,PCL,PDF,POSTSCRIPT", ""},
	} {
		if got := pjl.Language(test.format, strings.Split(test.set, ",")); got != test.want {
			t.Errorf("%s on %s: got %q, want %q", test.format, test.set, got, test.want)
		}
	}
}

func FuzzParser(f *testing.F) {
	f.Add([]byte("@PJL USTATUS JOB\r\nEND\r\nNAME=\"a [1]\"\r\nPAGES=3\r\nRESULT=OK\r\n\f"))
	f.Add([]byte("@PJL INFO STATUS\r\nCODE=40021\r\nDISPLAY=\"12 PRINTER OPEN\"\r\nONLINE=FALSE\r\n\f"))
	f.Add([]byte("@PJL INFO PAGECOUNT\n42\n@PJL @PJL\f\x00\xff\f"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var whole, cut pjl.Parser
		got := append(whole.Feed(in), whole.Flush()...)
		var again []pjl.Message
		for i := range in {
			again = append(again, cut.Feed(in[i:i+1])...)
		}
		again = append(again, cut.Flush()...)
		if diff := cmp.Diff(got, again); diff != "" {
			t.Fatalf("packets change what is understood (-whole +cut):\n%s", diff)
		}
		for _, m := range got {
			if len(m.Lines) > pjl.MaxLines || !utf8.ValidString(m.Rest) {
				t.Fatalf("beyond the bounds: %d lines, %q", len(m.Lines), m.Rest)
			}
			for _, line := range m.Lines {
				if len(line) > 3*pjl.MaxLine || !utf8.ValidString(line) || strings.ContainsAny(line, "\r\n\f\x1b\x00") {
					t.Fatalf("a line passed: %q", line)
				}
			}
			m.Value("NAME")
			m.Count()
			if status, ok := m.Status(); ok && status.State == "" {
				t.Fatal("a status without a state")
			}
		}
	})
}
