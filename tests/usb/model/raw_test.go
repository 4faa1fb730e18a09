package model_test

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/tests/usb/model"
)

const uel = "\x1b%-12345X"

// TestJobs: documents are told from PJL, however the bytes are cut into transfers.
func TestJobs(t *testing.T) {
	own := uel + "@PJL SET COPIES=1\r\n@PJL ENTER LANGUAGE=PCL\r\nabc\x1bE" + uel
	stream := uel + "@PJL JOB NAME=\"first\"\r\n@PJL ENTER LANGUAGE=PDF\r\n%PDF \x1b%-1234 is no end\r\n" + uel + "@PJL EOJ\r\n" + uel +
		"no frame" + uel + "@PJL JOB NAME=\"own\"\r\n" + own + uel + "@PJL EOJ\r\n" + uel +
		"\x1bE plain PCL"
	want := []model.RawJob{
		{Name: "first", Language: "PDF", Bytes: 24, SHA256: digest([]byte("%PDF \x1b%-1234 is no end\r\n")), Ended: true},
		{Bytes: 8, SHA256: digest([]byte("no frame")), Ended: true},
		{Name: "own", Bytes: int64(len(own)), SHA256: digest([]byte(own)), Ended: true},
		{Bytes: 12, SHA256: digest([]byte("\x1bE plain PCL"))},
	}
	for _, cut := range []int{1, 2, 3, 7, 9, 64, 1000} {
		p := attached(t, model.Options{})
		for rest := []byte(stream); len(rest) > 0; {
			n := min(cut, len(rest))
			send(t, p, 1, rest[:n])
			rest = rest[n:]
		}
		eventually(t, "all taken", func() bool { return p.Raw.Bytes() == int64(len(stream)) })
		got := p.Raw.Jobs()
		for i := range got {
			got[i].Content = nil
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("in transfers of %d (-want +got):\n%s", cut, diff)
		}
	}
}

// TestPJL: the printer answers, and tells of what happens to it while it takes nothing.
func TestPJL(t *testing.T) {
	p := attached(t, model.Options{Serial: "S1"})
	for _, tc := range []struct{ say, want string }{
		{uel + "@PJL INFO ID\r\n", "@PJL INFO ID\r\n\"Rigworks Composite 100\"\r\n\f"},
		{"@PJL INFO STATUS\r\n", "@PJL INFO STATUS\r\nCODE=10001\r\nDISPLAY=\"READY\"\r\nONLINE=TRUE\r\n\f"},
		{"@PJL ECHO 4711\r\n", "@PJL ECHO 4711\r\n\f"},
		{"@PJL INFO MEMORY\r\n", "@PJL INFO MEMORY\r\n?\r\n\f"},
		{"@PJL USTATUS DEVICE=ON\r\n", "@PJL USTATUS DEVICE\r\nCODE=10001\r\nDISPLAY=\"READY\"\r\nONLINE=TRUE\r\n\f"},
		{"@PJL USTATUS JOB=ON\r\n@PJL JOB NAME=\"a b\"\r\n", "@PJL USTATUS JOB\r\nSTART\r\nNAME=\"a b\"\r\nID=1\r\n\f"},
	} {
		send(t, p, 1, []byte(tc.say))
		if got := string(receive(t, p, 0x81)); got != tc.want {
			t.Errorf("%q: %q, want %q", tc.say, got, tc.want)
		}
	}
	p.RawOut.Fail(model.Fault{Kind: model.PaperOut, After: 3})
	sent := make(chan error, 1)
	go func() { _, err := p.Transfer(soon(t), 1, []byte("page one, page two"+uel+"@PJL EOJ\r\n")); sent <- err }()
	if got := string(receive(t, p, 0x81)); got != "@PJL USTATUS DEVICE\r\nCODE=41002\r\nDISPLAY=\"TRAY 1 LOAD PLAIN A4\"\r\nONLINE=FALSE\r\n\f" {
		t.Errorf("out of paper: %q", got)
	}
	status, err := p.Control(t.Context(), model.Setup{RequestType: 0xA1, Request: 1, Length: 1}, nil)
	if err != nil || !bytes.Equal(status, []byte{model.PortPaperEmpty}) {
		t.Errorf("port status %x: %v", status, err)
	}
	p.LoadPaper()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if got := string(receive(t, p, 0x81)); got != "@PJL USTATUS DEVICE\r\nCODE=10001\r\nDISPLAY=\"READY\"\r\nONLINE=TRUE\r\n\f" {
		t.Errorf("paper again: %q", got)
	}
	if got := string(receive(t, p, 0x81)); got != "@PJL USTATUS JOB\r\nEND\r\nNAME=\"a b\"\r\nID=1\r\nPAGES=1\r\n\f" {
		t.Errorf("end of job: %q", got)
	}
}

// TestMemoryIsFlat: a job is not held.
func TestMemoryIsFlat(t *testing.T) {
	p := attached(t, model.Options{})
	part := make([]byte, 256<<10)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const parts = 256
	for range parts {
		send(t, p, 1, part)
	}
	eventually(t, "all taken", func() bool { return p.Raw.Bytes() == parts*int64(len(part)) })
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("64 MiB of a job left %d bytes", grown)
	}
}

// TestEnds: what was half done ends with an unplug, a reset and a soft reset.
func TestEnds(t *testing.T) {
	p := model.New(model.Options{})
	for i, end := range []func(){
		func() { p.Detach() },
		func() { p.Reset(); p.Detach() },
		func() {
			if _, err := p.Control(t.Context(), model.Setup{RequestType: 0x21, Request: 2}, nil); err != nil {
				t.Error(err)
			}
			p.Detach()
		},
	} {
		if err := p.Attach(nil); err != nil {
			t.Fatal(err)
		}
		send(t, p, 1, []byte("half a document"))
		eventually(t, "taken", func() bool { return p.Raw.Bytes() == int64(15*(i+1)) })
		end()
		if jobs := p.Raw.Jobs(); p.Raw.Cut() != i+1 || len(jobs) != i+1 || jobs[i].Ended || jobs[i].Bytes != 15 {
			t.Errorf("case %d: %d cut, %+v", i, p.Raw.Cut(), jobs)
		}
	}
}
