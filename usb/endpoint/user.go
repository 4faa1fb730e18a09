package endpoint

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// ownUser reports whether the socket at the other end of a connection within this machine belongs to the gateway's own user.
//
// It must be established still: of a socket that its process has closed the kernel says uid 0, and inode 0. Whoever could send a request
// and close at once would be taken for root.
func ownUser(from, at netip.AddrPort) bool {
	if !from.Addr().IsLoopback() {
		return false
	}
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} { // a socket of IPv6 may have sent to ::ffff:127.0.0.1
		f, err := os.Open(table)
		if err != nil {
			continue
		}
		uid, found := owner(f, hexOf(from, table), hexOf(at, table))
		_ = f.Close()
		if found {
			return uid == os.Geteuid()
		}
	}
	return false
}

// hexOf is an address as the kernel prints it: words of 32 bits as numbers of this machine.
func hexOf(a netip.AddrPort, table string) string {
	var b strings.Builder
	addr := a.Addr().Unmap()
	bytes := addr.AsSlice()
	if addr.Is4() && strings.HasSuffix(table, "6") {
		mapped := addr.As16()
		bytes = mapped[:]
	}
	for ; len(bytes) >= 4; bytes = bytes[4:] {
		fmt.Fprintf(&b, "%08X", binary.NativeEndian.Uint32(bytes))
	}
	fmt.Fprintf(&b, ":%04X", a.Port())
	return b.String()
}

// owner finds an established connection in the kernel's table (proc_net_tcp(5)), and the uid of its socket at local.
func owner(table io.Reader, local, remote string) (uid int, found bool) {
	const established, columns = "01", 10
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < columns || f[1] != local || f[2] != remote || f[3] != established || f[9] == "0" {
			continue
		}
		uid, err := strconv.Atoi(f[7])
		return uid, err == nil
	}
	return 0, false
}
