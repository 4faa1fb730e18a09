package raw_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/raw"
)

// framed is what a document gets around it where it is framed.
func framed(n int, language, document string) string {
	return uel + "@PJL\r\n@PJL USTATUS JOB = ON\r\n@PJL USTATUS DEVICE = ON\r\n" +
		fmt.Sprintf("@PJL JOB NAME = \"report [%d]\"\r\n@PJL ENTER LANGUAGE = %s\r\n", n, language) + document +
		uel + fmt.Sprintf("@PJL\r\n@PJL EOJ NAME = \"report [%d]\"\r\n", n) + uel + uel + "@PJL USTATUSOFF\r\n" + uel
}

func TestWhatIsAddedToADocument(t *testing.T) {
	const pcl = "\x1bE page \x1bE"
	pjlDoc := uel + "@PJL JOB NAME = \"mine\"\r\n@PJL ENTER LANGUAGE = PCL\r\n" + pcl + uel
	for _, test := range []struct {
		rule, format, content string
		set                   []string
		quirks                raw.Quirks
		want                  string
		reason                string
	}{
		{"a language that PJL knows is framed", "application/vnd.hp-PCL", pcl, []string{"PJL", "PCL"}, raw.Quirks{}, framed(1, "PCL", pcl), "job-completed-successfully"},
		{"a document with its own PJL is sent as it is", "application/vnd.hp-PCL", pjlDoc, []string{"PJL", "PCL"}, raw.Quirks{}, pjlDoc, "queued-in-device"},
		{"octet-stream is sent as it is", "application/octet-stream", pcl, []string{"PJL", "PCL"}, raw.Quirks{}, pcl, "queued-in-device"},
		{"no format is sent as it is", "", pcl, []string{"PJL", "PCL"}, raw.Quirks{}, pcl, "queued-in-device"},
		{"a package that begins with PJL is sent as it is", "application/octet-stream", uel + "@PJL UPGRADE SIZE=3\r\nabc", []string{"PJL", "PCL"}, raw.Quirks{}, uel + "@PJL UPGRADE SIZE=3\r\nabc", "queued-in-device"},
		{"a printer without PJL gets the document alone", "application/vnd.hp-PCL", pcl, []string{"PCL"}, raw.Quirks{}, pcl, "queued-in-device"},
		{"a printer that cannot bear PJL gets the document alone", "application/vnd.hp-PCL", pcl, []string{"PJL", "PCL"}, raw.Quirks{NoPJL: true}, pcl, "queued-in-device"},
		{"a language that the printer does not name is sent as it is", "application/pdf", "%PDF-1.7", []string{"PJL", "PCL"}, raw.Quirks{}, "%PDF-1.7", "queued-in-device"},
		{"a raster is sent as it is", "image/urf", "UNIRAST\x00", []string{"PJL", "PCL", "URF"}, raw.Quirks{}, "UNIRAST\x00", "queued-in-device"},
		{"a printer that does not answer is not asked", "application/vnd.hp-PCL", pcl, []string{"PJL", "PCL"}, raw.Quirks{OneWay: true},
			uel + "@PJL\r\n@PJL JOB NAME = \"report [1]\"\r\n@PJL ENTER LANGUAGE = PCL\r\n" + pcl + uel + "@PJL\r\n@PJL EOJ NAME = \"report [1]\"\r\n" + uel, "queued-in-device"},
	} {
		t.Run(test.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPrinter(t)
				port := p.open(test.quirks, test.set...)
				var told states
				status, err := port.Print(t.Context(), document(test.format, test.content), told.tell)
				if err != nil {
					t.Fatal(err)
				}
				want := mfpgate.JobStatus{State: mfpgate.JobCompleted, Reasons: []string{test.reason}, Sent: int64(len(test.content))}
				if diff := cmp.Diff(want, status); diff != "" {
					t.Errorf("status (-want +got):\n%s", diff)
				}
				synctest.Wait()
				if wire, _ := p.got(); wire != test.want {
					t.Errorf("on the wire:\n%q, want\n%q", wire, test.want)
				}
				if diff := cmp.Diff(told.last(), status); diff != "" {
					t.Errorf("what was told last is not what is returned:\n%s", diff)
				}
			})
		})
	}
}

// random is n bytes that are the same each time, without UEL.
func random(n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{1})
	src.Read(b)
	return bytes.ReplaceAll(b, []byte{0x1b}, []byte{0x1c})
}

func TestBytesArriveIdentical(t *testing.T) {
	document := random(20<<20 + 7)
	for _, test := range []struct {
		rule, format string
		split        []int
		bytes        int
		size         int64
	}{
		{"as it is", "application/octet-stream", nil, 20<<20 + 7, 20<<20 + 7},
		{"framed", "application/vnd.hp-PCL", nil, 20<<20 + 7, 20<<20 + 7},
		{"from a content that comes in pieces and does not say its size", "application/octet-stream", []int{1, 511, 512, 513, 9999, 70000}, 1<<20 + 7, -1},
	} {
		t.Run(test.rule, func(t *testing.T) {
			content := document[:test.bytes]
			p := newPrinter(t)
			port := p.open(raw.Quirks{}, "PJL", "PCL")
			doc := mfpgate.Document{Format: test.format, Size: test.size, Content: &pieces{rest: content, sizes: test.split}}
			status, err := port.Print(t.Context(), doc, nil)
			if err != nil || status.Sent != int64(len(content)) {
				t.Fatalf("got %+v, %v", status, err)
			}
			wait(t, func() bool { _, d := p.got(); return len(d) >= len(content) })
			if _, got := p.got(); sha256.Sum256([]byte(got)) != sha256.Sum256(content) {
				t.Errorf("%d bytes arrived, and not those that were sent", len(got))
			}
		})
	}
}

// pieces is a content that comes in pieces of some sizes.
type pieces struct {
	rest  []byte
	sizes []int
	next  int
}

func (r *pieces) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	k := min(len(p), len(r.rest))
	if len(r.sizes) > 0 {
		k = min(k, r.sizes[r.next%len(r.sizes)])
		r.next++
	}
	copy(p, r.rest[:k])
	r.rest = r.rest[k:]
	return k, nil
}

// wait waits for a state.
func wait(t *testing.T, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("the state did not come")
		}
	}
}

func TestOneJobAtATimeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrinter(t)
		port := p.open(raw.Quirks{})
		p.out.Pause()
		var first, second, third states
		one := start(t.Context(), port, document("", "one"), first.tell)
		synctest.Wait()
		leave, cancel := context.WithCancelCause(t.Context())
		two := start(leave, port, document("", "two"), second.tell)
		synctest.Wait()
		three := start(t.Context(), port, document("", "three"), third.tell)
		synctest.Wait()
		if got := second.last().State; got != mfpgate.JobPending {
			t.Errorf("the second job is %q, want pending", got)
		}
		reason := errors.New("changed my mind")
		cancel(reason)
		got := <-two
		if got.status.State != mfpgate.JobCanceled || !errors.Is(got.err, reason) || got.status.Sent != 0 {
			t.Errorf("the one that left: %+v", got)
		}
		p.out.Resume()
		<-one
		<-three
		synctest.Wait()
		if wire, _ := p.got(); wire != "onethree" {
			t.Errorf("on the wire: %q", wire)
		}
		if diff := cmp.Diff([]string{"pending", "processing job-outgoing", "completed queued-in-device"}, third.told()); diff != "" {
			t.Errorf("the third (-want +got):\n%s", diff)
		}
	})
}

func TestContentThatFails(t *testing.T) {
	lost := errors.New("connection lost")
	for _, test := range []struct {
		rule, format, set string
		content           io.Reader
		size              int64
		wire              string
		resets            int
		err               error
	}{
		{"an empty document is none", "", "", strings.NewReader(""), 0, "", 0, nil},
		{"nothing could be read: nothing is sent", "", "", iotest(lost), -1, "", 0, lost},
		{"in the middle of PJL: UEL ends it", "application/vnd.hp-PCL", "PJL,PCL", io.MultiReader(strings.NewReader(strings.Repeat("p", 100)), iotest(lost)), -1,
			strings.TrimSuffix(framed(1, "PCL", strings.Repeat("p", 100)), ""), 0, lost},
		{"in the middle of PostScript: ^D ends it", "application/postscript", "POSTSCRIPT", io.MultiReader(strings.NewReader("%!PS"+strings.Repeat(" ", 100)), iotest(lost)), -1,
			"%!PS" + strings.Repeat(" ", 100) + "\x04", 0, lost},
		{"in the middle of anything else: the printer is reset", "image/urf", "URF", io.MultiReader(strings.NewReader(strings.Repeat("u", 100)), iotest(lost)), -1,
			strings.Repeat("u", 100), 1, lost},
		{"it says nothing for ever", "", "", errReader{}, -1, "", 0, io.ErrNoProgress},
		{"shorter than was said", "", "", strings.NewReader("abc"), 4, "abc", 1, nil},
		{"longer than was said: what is too much is not sent", "", "", strings.NewReader("abcde"), 4, "abcd", 1, nil},
	} {
		t.Run(test.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPrinter(t)
				port := p.open(raw.Quirks{}, strings.Split(test.set, ",")...)
				status, err := port.Print(t.Context(), mfpgate.Document{Name: "report", Format: test.format, Size: test.size, Content: test.content}, nil)
				if status.State != mfpgate.JobAborted || err == nil || test.err != nil && !errors.Is(err, test.err) {
					t.Errorf("got %+v, %v; want aborted with %v", status, err, test.err)
				}
				synctest.Wait()
				if wire, _ := p.got(); wire != test.wire {
					t.Errorf("on the wire:\n%q, want\n%q", wire, test.wire)
				}
				if got := p.softResets(); got != test.resets {
					t.Errorf("%d soft resets, want %d", got, test.resets)
				}
				if status, err := port.Print(t.Context(), document("", "next"), nil); err != nil {
					t.Errorf("the next job: %+v, %v", status, err)
				}
			})
		})
	}
}

// iotest is a reader that fails.
func iotest(err error) io.Reader { return errReader{err} }

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }
