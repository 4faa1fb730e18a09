package calendar

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// TZData names the version of the time zone rules in use, such as "2025b". The system's own come first, and they carry
// their version in a file that not every distribution ships: without it the answer names the directory. Where the system
// has no rules at all, those in the program are used, which came with the Go release that is named. A zone that the system
// lacks is taken from the program even so.
func TZData() string {
	// The order of time.LoadLocation, see zoneinfo_unix.go.
	dirs := []string{"/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/usr/lib/locale/TZ", "/etc/zoneinfo"}
	if own := os.Getenv("ZONEINFO"); own != "" {
		dirs = append([]string{own}, dirs...)
	}
	return tzdataIn(dirs)
}

func tzdataIn(dirs []string) string {
	for _, dir := range dirs {
		if info, err := os.Stat(filepath.Join(dir, "UTC")); err != nil || info.IsDir() {
			continue
		}
		if version := firstLine(filepath.Join(dir, "+VERSION")); version != "" {
			return version
		}
		if version, ok := strings.CutPrefix(firstLine(filepath.Join(dir, "tzdata.zi")), "# version "); ok {
			return version
		}
		return "unknown version in " + dir
	}
	return "embedded in " + runtime.Version()
}

// firstLine returns the file's first line if it is short, else "".
func firstLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // it was only read
	head := make([]byte, 64)
	n, _ := io.ReadFull(f, head)
	line, _, ok := strings.Cut(string(head[:n]), "\n")
	if !ok && n == len(head) {
		return ""
	}
	return strings.TrimSpace(line)
}
