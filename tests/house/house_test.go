package house_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/mfpgate/mfpgate"

// pkg is what `go list` says of one package of ours.
type pkg struct {
	ImportPath                                  string
	Dir                                         string
	GoFiles, TestGoFiles, XTestGoFiles, Imports []string
}

// folder is the package's place in the house: "" for the root.
func (p pkg) folder() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,TestGoFiles,XTestGoFiles,Imports", "./...")
	cmd.Dir = "../.."
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for dec := json.NewDecoder(out); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return all
}

// under reports whether folder is root or lies below it.
func under(folder, root string) bool {
	return folder == root || strings.HasPrefix(folder, root+"/")
}

// arrows say which of our folders a folder may import, besides its own. Tests may import what they test with.
var arrows = []struct {
	from string
	to   []string
}{
	{"calendar", []string{""}},
	{"telemetry", []string{""}},
	{"store", []string{""}},
	{"config", []string{"", "calendar"}},
	{"protocol", []string{""}},
	{"discovery", []string{"", "calendar", "telemetry", "store", "protocol"}},
	{"usb", []string{"", "calendar", "telemetry", "store", "protocol"}},
	{"proxy", []string{"", "calendar", "telemetry", "store"}},
	{"scheduler", []string{"", "calendar", "telemetry", "store"}},
	{"broker", []string{"", "calendar", "telemetry", "store"}},
	{"mail", []string{""}},
	{"throttle", []string{""}},
	{"cloud/api", []string{""}},
	{"cloud/client/hawkbit", []string{"", "telemetry"}},
	{"cloud/client", []string{"", "cloud/api", "calendar", "telemetry", "protocol"}},
	{"cloud/server/servertest", []string{"", "cloud/api", "cloud/server", "telemetry", "store", "broker/region", "tests/port"}},
	{"cloud/server", []string{"", "cloud/api", "calendar", "telemetry", "store", "scheduler", "broker/region", "mail", "throttle", "protocol"}},
	{"daemon", []string{"", "calendar", "telemetry", "store", "config", "discovery", "usb", "proxy", "scheduler", "broker", "mail", "throttle", "cloud/api", "cloud/client"}},
	{"cmd/mfpgate", []string{"", "calendar", "config", "daemon", "cloud/api", "scheduler/plan"}},
	{"cmd/mfpcloud", []string{"", "cloud", "telemetry", "store", "mail"}},
	{"cmd/mfpsim", []string{"", "cloud/api", "cloud/client", "cloud/server/provision", "store", "telemetry", "broker/approval", "mail"}},
	{"tests", []string{"", "calendar", "telemetry", "store", "config", "discovery", "usb", "protocol", "proxy", "scheduler", "broker", "mail", "throttle", "cloud", "daemon", "cmd", "systemd"}},
	{"systemd", []string{}},
	{"", []string{}},
}

func TestArrowsPointInward(t *testing.T) {
	for _, p := range packages(t) {
		folder := p.folder()
		i := slices.IndexFunc(arrows, func(a struct {
			from string
			to   []string
		}) bool {
			return a.from != "" && under(folder, a.from) || a.from == folder
		})
		if i < 0 {
			t.Errorf("%s is not in the house; give it a row in arrows, and a line in ARCHITECTURE.md", folder)
			continue
		}
		for _, imported := range p.Imports {
			to, ours := strings.CutPrefix(imported, module)
			if to = strings.TrimPrefix(to, "/"); !ours {
				continue
			}
			allowed := arrows[i].from != "" && under(to, arrows[i].from)
			for _, a := range arrows[i].to {
				allowed = allowed || a == to || a != "" && under(to, a)
			}
			if !allowed {
				t.Errorf("%s imports %s, which no arrow allows; declare a port in %s and let daemon plug it in", folder, to, folder)
			}
		}
	}
}

// owners say where a third-party package may be imported. Tests may use what they test with.
var owners = map[string][]string{
	"github.com/elazarl/goproxy":          {"proxy"},
	"github.com/dgraph-io/badger/v4":      {"store/badger"},
	"go.etcd.io/etcd":                     {"store/etcd"},
	"github.com/google/gousb":             {"usb"},
	"github.com/robfig/cron/v3":           {"calendar", "scheduler"},
	"github.com/rs/zerolog":               {"telemetry"},
	"github.com/prometheus/client_golang": {"telemetry"},
	"github.com/goccy/go-yaml":            {"config"},
	"github.com/danielgtaylor/huma/v2":    {"daemon/control", "cloud/server"},
	"github.com/alexedwards/scs/v2":       {"daemon"},
	"github.com/coreos/go-systemd/v22":    {"daemon"},
	"github.com/spf13/cobra":              {"cmd"},
	"github.com/oklog/ulid/v2":            {""},
	"github.com/miekg/dns":                {"discovery/mdns", "usb/endpoint/dnssd", "cmd/mfpsim"},
	"github.com/gosnmp/gosnmp":            {"discovery/snmp", "cmd/mfpsim"},
	"github.com/OpenPrinting/goipp":       {"discovery/ipp", "usb/document", "usb/describe", "cmd/mfpsim", "protocol/ipp", "cloud/client/print", "cloud/server/print"},
	"github.com/wneessen/go-mail":         {"mail"},
	"github.com/go-jose/go-jose/v4":       {"cloud/api/jws"},
	"rsc.io/qr":                           {"daemon/portal", "cmd/mfpsim"},
	"golang.org/x/time":                   {"discovery"},
	"golang.org/x/net":                    {"", "daemon", "protocol/multicast", "cmd/mfpsim"},
	"golang.org/x/crypto":                 {"proxy/account", "daemon"},
	"golang.org/x/sys":                    {"proxy", "store/badger", "daemon", "cloud/server/provision"},
	"golang.org/x/sync":                   {"proxy", "daemon", "store", "cloud/server", "cmd"},
	"golang.org/x/term":                   {"cmd"},
	"google.golang.org/protobuf":          {"store/badger"},    // reads Badger's manifest
	"github.com/google/go-cmp":            {"store/storetest"}, // a suite for drivers' tests
}

func TestThirdPartyPackagesHaveOneOwner(t *testing.T) {
	for _, p := range packages(t) {
		folder := p.folder()
		for _, imported := range p.Imports {
			first, _, _ := strings.Cut(imported, "/")
			if !strings.Contains(first, ".") || strings.HasPrefix(imported, module) {
				continue
			}
			owned := under(folder, "tests")
			known := false
			for path, folders := range owners {
				if !under(imported, path) {
					continue
				}
				known = true
				for _, o := range folders {
					owned = owned || folder == o || o != "" && under(folder, o)
				}
			}
			switch {
			case !known && !owned:
				t.Errorf("%s imports %s, which nobody owns; give it an owner here and say in the commit what it replaces", folder, imported)
			case !owned:
				t.Errorf("%s imports %s, which another folder owns; use the owner's types", folder, imported)
			}
		}
	}
}

func TestPackagesSayWhatTheyPromise(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue // tests alone, which their names explain
		}
		found := false
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			if f.Doc != nil && (strings.HasPrefix(f.Doc.Text(), "Package ") || strings.HasPrefix(f.Doc.Text(), "Command ")) {
				found = true
			}
		}
		if !found {
			t.Errorf("%s has no package comment; write a doc.go that says what it promises, refuses and how it fails", p.folder())
		}
	}
}

// banned calls have one place in the house.
var banned = []struct {
	pkg, name string
	where     []string // files that may, from the root
	tests     bool     // tests may too
	mend      string
}{
	{"time", "Now", []string{"clock.go"}, true, "take mfpgate.Clock"},
	{"time", "Since", []string{}, true, "take mfpgate.Clock"},
	{"time", "Until", []string{}, true, "take mfpgate.Clock"},
	{"time", "After", []string{}, true, "take a timer of mfpgate.Clock"},
	{"time", "AfterFunc", []string{"clock.go"}, true, "take a timer of mfpgate.Clock"},
	{"time", "NewTimer", []string{"clock.go"}, true, "take a timer of mfpgate.Clock"},
	{"time", "NewTicker", []string{}, true, "take a timer of mfpgate.Clock"},
	{"time", "Tick", []string{}, false, "take a timer of mfpgate.Clock"},
	{"time", "Sleep", []string{}, false, "wait for a state; in the product use mfpgate.Wait"},
	{"os", "Exit", []string{"main.go"}, false, "return an error; main alone exits"},
	{"log", "Fatal", []string{}, false, "return an error; main alone exits"},
	{"log", "Fatalf", []string{}, false, "return an error; main alone exits"},
	{"log", "Printf", []string{}, false, "log through telemetry"},
	{"log", "Println", []string{}, false, "log through telemetry"},
}

// logCalls take a key as their first argument.
var logCalls = []string{"Str", "Strs", "Stringer", "Int", "Int32", "Int64", "Uint32", "Uint64", "Float64", "Bool", "Dur", "Time", "AnErr", "Any", "Interface", "Bytes"}

func TestBannedCalls(t *testing.T) {
	for _, p := range packages(t) {
		folder := p.folder()
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			isTest := strings.HasSuffix(name, "_test.go") || under(folder, "tests")
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			place := strings.TrimPrefix(folder+"/"+name, "/")
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				sel, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				at := place + ":" + strconv.Itoa(set.Position(call.Pos()).Line)
				if x, ok := sel.X.(*ast.Ident); ok {
					for _, b := range banned {
						if x.Name != b.pkg || sel.Sel.Name != b.name || b.tests && isTest {
							continue
						}
						if slices.Contains(b.where, place) || slices.Contains(b.where, name) && b.pkg == "os" {
							continue
						}
						if b.name == "Exit" && inTestMain(f, call) {
							continue
						}
						t.Errorf("%s: %s.%s; %s", at, b.pkg, b.name, b.mend)
					}
				}
				if !isTest && slices.Contains(logCalls, sel.Sel.Name) && len(call.Args) == 2 {
					if key, ok := call.Args[0].(*ast.BasicLit); ok && key.Kind == token.STRING && isLogEvent(sel.X) {
						t.Errorf("%s: literal log key %s; add it to telemetry/field", at, key.Value)
					}
				}
				return true
			})
		}
	}
}

// inTestMain reports whether the call stands in TestMain, which exits for a test that is its own child process.
func inTestMain(f *ast.File, call *ast.CallExpr) bool {
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "TestMain" && fn.Pos() <= call.Pos() && call.End() <= fn.End() {
			return true
		}
	}
	return false
}

// isLogEvent follows a chain of calls down to log.Info(), e.Str() or the like.
func isLogEvent(x ast.Expr) bool {
	for {
		switch e := x.(type) {
		case *ast.CallExpr:
			sel, ok := e.Fun.(*ast.SelectorExpr)
			if !ok {
				return false
			}
			if slices.Contains([]string{"Info", "Warn", "Error", "Debug", "With"}, sel.Sel.Name) {
				return true
			}
			x = sel.X
		case *ast.Ident:
			return e.Name == "e" || e.Name == "event"
		default:
			return false
		}
	}
}

// maxLines keeps a file within one sitting.
const maxLines = 400

func TestFilesAreShort(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), "\n"); n > maxLines {
				t.Errorf("%s/%s has %d lines; split it along a seam of its own", p.folder(), name, n)
			}
		}
	}
}

// TestWhatIsNotRacedIsPure: the packages that the Makefile leaves out of the race detector have nothing that it could find.
func TestWhatIsNotRacedIsPure(t *testing.T) {
	text, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "\nUNRACED = ")
	list, _, _ = strings.Cut(list, "\n")
	ours := 0
	for _, p := range packages(t) {
		if !slices.Contains(strings.Fields(list), p.ImportPath) {
			continue
		}
		ours++
		for _, imported := range p.Imports {
			if imported == "sync" || strings.HasPrefix(imported, "sync/") {
				t.Errorf("%s imports %s; take it out of UNRACED in the Makefile", p.folder(), imported)
			}
		}
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if _, starts := n.(*ast.GoStmt); starts {
					t.Errorf("%s/%s starts a goroutine; take the package out of UNRACED in the Makefile", p.folder(), name)
				}
				return true
			})
		}
	}
	if ours != 4 {
		t.Errorf("%d packages of UNRACED are ours, want 4; one was renamed", ours)
	}
}
