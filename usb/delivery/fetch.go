package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/mfpgate/mfpgate"
)

// errStalled ends a download that brings nothing.
var errStalled = errors.New("the region sends nothing")

// fetch brings the rest of a package to the disk, and holds it against what was planned. What arrived stays for the next try.
func (d *Deliveries) fetch(ctx context.Context, work Work, r *record) (*refusal, error) {
	p := r.Order.Package
	f, err := os.OpenFile(d.file(r), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, d.wait(r, FetchFailed, err)
	}
	defer f.Close()
	sum := sha256.New()
	had, err := resume(ctx, f, sum, p.Size)
	if err != nil {
		return nil, d.wait(r, FetchFailed, err)
	}
	if had < p.Size {
		if no, err := d.download(ctx, work, r, f, sum, &had); no != nil || err != nil {
			return no, err
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != p.SHA256 {
		if err := f.Truncate(0); err != nil {
			return nil, d.wait(r, FetchFailed, err)
		}
		if had > 0 { // a part was here before, perhaps from before a power failure: the whole of it decides
			return nil, d.wait(r, FetchFailed, errors.New("what was resumed is not the package; it is fetched from the start"))
		}
		return &refusal{DigestMismatch, fmt.Sprintf("The %d bytes that the region sent have the SHA-256 %.12s…, not %.12s… as planned. Nothing was sent to the printer.", p.Size, got, p.SHA256)}, nil
	}
	err = f.Sync()
	if err == nil {
		err = syncDir(d.Dir)
	}
	return full(d.wait, r, err)
}

// full makes a want of room a refusal.
func full(wait func(*record, mfpgate.Reason, error) error, r *record, err error) (*refusal, error) {
	switch {
	case err == nil:
		return nil, nil
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return &refusal{NoSpace, fmt.Sprintf("The gateway's disk was full before the package of %d bytes was on it.", r.Order.Package.Size)}, nil
	}
	return nil, wait(r, FetchFailed, err)
}

// resume reads what is there, and returns how much of it may be of the package. The file stands behind it.
func resume(ctx context.Context, f *os.File, sum hash.Hash, size int64) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if info.Size() > size {
		return 0, f.Truncate(0)
	}
	return io.Copy(sum, reading{ctx, f})
}

// download appends the rest of a package. had is how much of what is there came from an earlier try.
func (d *Deliveries) download(ctx context.Context, work Work, r *record, f *os.File, sum hash.Hash, had *int64) (*refusal, error) {
	p := r.Order.Package
	room, err := d.Free(d.Dir)
	if err != nil {
		return nil, d.wait(r, FetchFailed, err)
	}
	if need := p.Size - *had + reserve; room < need {
		return &refusal{NoSpace, fmt.Sprintf("The package needs %d bytes on the gateway's disk, and %d more are kept for its own facts; %d are free.", p.Size-*had, int64(reserve), room)}, nil
	}
	ctx, kick, stop := d.watchdog(ctx)
	defer stop()
	content, err := d.Cloud.Package(ctx, work.Dial, p, *had)
	if err != nil {
		if _, relay := errors.AsType[mfpgate.Refused](err); !relay && errors.Is(err, mfpgate.ErrRefused) {
			return &refusal{NotGiven, "The region does not give the package: " + err.Error()}, nil
		}
		return nil, d.wait(r, FetchFailed, told(ctx, err))
	}
	defer content.Close()
	switch content.Begins {
	case *had:
	case 0:
		*had = 0
		sum.Reset()
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, d.wait(r, FetchFailed, err)
		}
		if err := f.Truncate(0); err != nil {
			return nil, d.wait(r, FetchFailed, err)
		}
	default:
		return nil, d.wait(r, FetchFailed, fmt.Errorf("the region sends from byte %d on, and was asked from %d", content.Begins, *had))
	}
	rest := p.Size - *had
	if content.Length >= 0 && content.Length != rest {
		return &refusal{SizeMismatch, fmt.Sprintf("The region announces %d bytes of a package of %d.", *had+content.Length, p.Size)}, nil
	}
	// One byte more than planned is enough to know.
	n, err := io.Copy(io.MultiWriter(f, sum), reading{ctx, kicking{io.LimitReader(content, rest+1), kick}})
	switch {
	case n > rest:
		return &refusal{SizeMismatch, fmt.Sprintf("The region sends more than the %d bytes of the package.", p.Size)}, nil
	case err != nil:
		return full(d.wait, r, told(ctx, err))
	case n < rest:
		return nil, d.wait(r, FetchFailed, fmt.Errorf("%d of %d bytes came: %w", *had+n, p.Size, io.ErrUnexpectedEOF))
	}
	return nil, nil
}

// told prefers why ctx ended to the error that followed from it.
func told(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// watchdog ends a context for which nobody called kick for as long as Stall.
func (d *Deliveries) watchdog(ctx context.Context) (_ context.Context, kick, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var kicked atomic.Int64
	ended, watching := make(chan struct{}), make(chan struct{})
	go func() { // stop waits for it
		defer close(watching)
		timer := d.Clock.NewTimer(d.Stall)
		defer timer.Stop()
		for seen := int64(0); ; {
			select {
			case <-ended:
				return
			case <-timer.C():
			}
			now := kicked.Load()
			if now == seen {
				cancel(errStalled)
				return
			}
			seen = now
			timer.Reset(d.Stall)
		}
	}()
	return ctx, func() { kicked.Add(1) }, func() { close(ended); <-watching; cancel(nil) }
}

type kicking struct {
	io.Reader
	kick func()
}

func (k kicking) Read(p []byte) (int, error) {
	n, err := k.Reader.Read(p)
	if n > 0 {
		k.kick()
	}
	return n, err
}

// reading ends with its context.
type reading struct {
	ctx context.Context
	io.Reader
}

func (r reading) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(p)
}

// verify holds a file against its package.
func verify(ctx context.Context, path string, p mfpgate.Package) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, reading{ctx, f})
	if err == nil && (n != p.Size || hex.EncodeToString(sum.Sum(nil)) != p.SHA256) {
		err = errors.New("the package on the disk is damaged; it is fetched again")
	}
	return err
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func free(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(s.Bavail) * s.Bsize, nil
}
