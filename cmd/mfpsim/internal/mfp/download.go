package mfp

import (
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// ErrDigest is returned for bytes that are all there and not those of the package.
var ErrDigest = errors.New("the bytes are not the package's")

// received is what a complete download brought.
type received struct {
	size   int64
	sha256 string
}

// download gets the rest of a package. On an error that is not ErrDigest the part that arrived is kept, and the next
// call goes on from there.
func (d *Device) download(ctx context.Context, p api.Package) (received, error) {
	sum, err := d.resume(p)
	if err != nil {
		return received{}, err
	}
	ctx, kick, stop := watchdog(ctx, d.o.Clock, d.o.Stall)
	defer stop()
	res, err := d.fetch(ctx, p)
	if err != nil {
		return received{}, err
	}
	defer res.Body.Close()
	at := d.state.Part
	if res.StatusCode == http.StatusOK && at.Offset > 0 { // another version of it, or a server without ranges: all anew
		d.state.Part = nil
		if sum, err = d.resume(p); err != nil {
			return received{}, err
		}
		at = d.state.Part
	}
	if res.StatusCode == http.StatusPartialContent && !startsAt(res.Header.Get("Content-Range"), at.Offset) {
		return received{}, fmt.Errorf("the range %q does not begin at byte %d", clip(res.Header.Get("Content-Range")), at.Offset)
	}
	at.ETag = res.Header.Get("ETag")
	d.tell(Event{Kind: Downloading, Package: p.PackageID, Version: p.Version, Offset: at.Offset, Text: progress(p, at.Offset)})

	buf := make([]byte, 64<<10)
	// One byte more than promised is enough to know that the size is wrong.
	n, err := io.CopyBuffer(onlyWriter{sum}, kicking{io.LimitReader(res.Body, p.Size-at.Offset+1), kick}, buf)
	at.Offset += n
	if err == nil && at.Offset < p.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		if at.Hash, _ = sum.(encoding.BinaryMarshaler).MarshalBinary(); at.Hash == nil {
			d.state.Part = nil
		}
		d.save()
		return received{}, err
	}
	d.state.Part = nil
	got := received{size: at.Offset, sha256: hex.EncodeToString(sum.Sum(nil))}
	if got.size != p.Size || got.sha256 != p.SHA256 {
		return got, fmt.Errorf("%w: %d bytes with SHA-256 %.12s…, not %d with %.12s…", ErrDigest, got.size, got.sha256, p.Size, p.SHA256)
	}
	return got, nil
}

// resume makes state.Part that of package p and returns its hash so far.
func (d *Device) resume(p api.Package) (hash.Hash, error) {
	sum := sha256.New()
	at := d.state.Part
	if at != nil && at.PackageID == p.PackageID && at.Offset > 0 && at.Offset < p.Size && at.ETag != "" {
		if err := sum.(encoding.BinaryUnmarshaler).UnmarshalBinary(at.Hash); err == nil {
			return sum, nil
		}
		sum.Reset()
	}
	d.state.Part = &part{PackageID: p.PackageID}
	return sum, nil
}

func (d *Device) fetch(ctx context.Context, p api.Package) (*http.Response, error) {
	at := d.state.Part
	req, err := d.request(ctx, http.MethodGet, p.ContentPath(), nil)
	if err != nil {
		return nil, err
	}
	req.Body, req.ContentLength = nil, 0
	if at.Offset > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(at.Offset, 10)+"-")
		req.Header.Set("If-Range", at.ETag)
	}
	res, err := d.do(req)
	var r *Refusal
	if errors.As(err, &r) && r.Status == http.StatusRequestedRangeNotSatisfiable {
		d.state.Part = nil // the part is none of this package
	}
	return res, err
}

// startsAt reads Content-Range: bytes first-last/size.
func startsAt(header string, offset int64) bool {
	rest, ok := strings.CutPrefix(header, "bytes ")
	first, _, _ := strings.Cut(rest, "-")
	return ok && first == strconv.FormatInt(offset, 10)
}

func progress(p api.Package, offset int64) string {
	if offset > 0 {
		return fmt.Sprintf("downloading %s goes on at byte %d of %d", p.Version, offset, p.Size)
	}
	return fmt.Sprintf("downloading %s, %d bytes", p.Version, p.Size)
}

// kicking tells the watchdog of every byte.
type kicking struct {
	r    io.Reader
	kick func()
}

func (k kicking) Read(p []byte) (int, error) {
	n, err := k.r.Read(p)
	if n > 0 {
		k.kick()
	}
	return n, err
}

// onlyWriter hides every other method, so that io.CopyBuffer uses its buffer.
type onlyWriter struct{ io.Writer }
