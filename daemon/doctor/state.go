package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// roomy is the free space below which somebody should look, in bytes: the store refuses to write with less than a quarter of it.
const roomy = 2 << 30

func checkState(_ context.Context, s *site) []Finding {
	if s.config == nil {
		return unread()
	}
	dir := s.config.StateDir
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []Finding{{Result: Failed, Detail: dir + " does not exist", Fix: "systemd-tmpfiles --create, or mkdir it for the service's user"}}
	case errors.Is(err, fs.ErrPermission):
		return []Finding{{Result: Skipped, Detail: dir + " is not for this user to see; look as root or as " + s.Service}}
	case err != nil:
		return []Finding{{Result: Failed, Detail: err.Error(), Fix: "check the disk"}}
	case !info.IsDir():
		return []Finding{{Result: Failed, Detail: dir + " is not a directory", Fix: "correct state_dir"}}
	}
	if may, who := s.may(dir); !may {
		return []Finding{{Result: Failed, Detail: fmt.Sprintf("%s may not write to %s", who, dir), Fix: fmt.Sprintf("chown -R %s: %s", who, dir)}}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return []Finding{{Result: Failed, Detail: fmt.Sprintf("free space of %s: %v", dir, err), Fix: "check the disk"}}
	}
	free := int64(min(st.Bavail, 1<<40)) * st.Bsize
	f := Finding{Result: Good, Detail: fmt.Sprintf("%s, %d MiB free", dir, free>>20)}
	if free < roomy {
		f.Result, f.Fix = Warning, fmt.Sprintf("free some: below %d MiB it may soon record nothing new", roomy>>20)
	}
	return []Finding{f}
}
