package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A backup is one line of magic, one line of JSON (Header), the records in the order of keys, each as key length (uvarint),
// key, value length (uvarint), value, then a key length of 0 and the SHA-256 of all bytes before it.
const (
	backupMagic  = "mfpgate backup\n"
	backupFormat = 1
	maxHeader    = 4096 // bytes of the header's line
)

// Header says what a backup holds.
type Header struct {
	Format  int       `json:"format"`
	Schema  int       `json:"schema"`
	Created time.Time `json:"created"`
}

// Backup writes all facts of one instant to w. now goes into the header. Nothing is buffered beyond a page of records, so a
// caller that fails or is cancelled halfway leaves a file that Restore refuses.
func Backup(ctx context.Context, s Store, w io.Writer, now time.Time) error {
	return s.View(ctx, func(snap Snapshot) error {
		schema, err := snapshotSchema(snap)
		if err != nil {
			return err
		}
		sum := sha256.New()
		out := bufio.NewWriter(io.MultiWriter(w, sum))
		head, err := json.Marshal(Header{Format: backupFormat, Schema: max(schema, 0), Created: now.UTC()})
		if err != nil {
			return err
		}
		out.WriteString(backupMagic) // bufio keeps the first error for Flush
		out.Write(append(head, '\n'))
		var n []byte
		for r, err := range All(snap, "") {
			if err != nil {
				return err
			}
			if strings.HasPrefix(r.Key, metaPrefix) {
				continue
			}
			n = binary.AppendUvarint(n[:0], uint64(len(r.Key)))
			n = append(n, r.Key...)
			n = binary.AppendUvarint(n, uint64(len(r.Value)))
			out.Write(n)
			if _, err := out.Write(r.Value); err != nil {
				return fmt.Errorf("write backup: %w", err)
			}
		}
		out.WriteByte(0)
		if err := out.Flush(); err != nil {
			return fmt.Errorf("write backup: %w", err)
		}
		if _, err := w.Write(sum.Sum(nil)); err != nil {
			return fmt.Errorf("write backup: %w", err)
		}
		return nil
	})
}

// BackupFile writes a backup to path so that path holds, at any moment, the whole old file or the whole new one, also after
// a loss of power.
func BackupFile(ctx context.Context, s Store, path string, now time.Time) error {
	return WriteFile(path, func(w io.Writer) error { return Backup(ctx, s, w, now) })
}

// WriteFile replaces path by what write writes, whole or not at all: a temporary file beside it, mode 0600, is synced and
// renamed, and the folder is synced.
func WriteFile(path string, write func(io.Writer) error) (err error) {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tmp.Close()
			_ = os.Remove(tmp.Name())
		}
	}()
	if err := write(tmp); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

// SyncDir makes the names in dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Verify reads a backup to its end and returns its header, or ErrDamaged if a byte is missing, too many or altered.
func Verify(r io.Reader) (Header, error) {
	return readBackup(r, func(Record) error { return nil })
}

// readBackup gives every record to fn. What fn got is to be trusted only once readBackup has returned nil.
func readBackup(r io.Reader, fn func(Record) error) (Header, error) {
	in := &summed{r: bufio.NewReader(r), sum: sha256.New()}
	var h Header
	magic := make([]byte, len(backupMagic))
	if _, err := io.ReadFull(in, magic); err != nil || string(magic) != backupMagic {
		return h, fmt.Errorf("not a backup of mfpgate: %w", readError(err))
	}
	line, err := in.line(maxHeader)
	if err != nil {
		return h, fmt.Errorf("header of the backup: %w", readError(err))
	}
	if err := json.Unmarshal(line, &h); err != nil || h.Schema < 0 || h.Format < 1 {
		return h, fmt.Errorf("header of the backup: %w", ErrDamaged)
	}
	if h.Format > backupFormat {
		return h, fmt.Errorf("backup has format %d: %w; this one reads format %d", h.Format, ErrNewerSchema, backupFormat)
	}
	last := ""
	for {
		record, err := in.record()
		if err != nil {
			return h, fmt.Errorf("record after %q: %w", last, readError(err))
		}
		if record.Key == "" {
			break
		}
		if record.Key <= last || checkKey(record.Key) != nil || strings.HasPrefix(record.Key, metaPrefix) {
			return h, fmt.Errorf("record after %q: %w", last, ErrDamaged)
		}
		last = record.Key
		if err := fn(record); err != nil {
			return h, err
		}
	}
	got, want := in.sum.Sum(nil), make([]byte, sha256.Size)
	if _, err := io.ReadFull(in.r, want); err != nil || !bytes.Equal(got, want) {
		return h, fmt.Errorf("checksum of the backup: %w", readError(err))
	}
	if _, err := in.r.ReadByte(); !errors.Is(err, io.EOF) {
		return h, fmt.Errorf("bytes after the end of the backup: %w", readError(err))
	}
	return h, nil
}

// readError turns an end that comes too early, or no error at all, into ErrDamaged.
func readError(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrDamaged
	}
	return err
}

// summed reads from r and sums what it read.
type summed struct {
	r   *bufio.Reader
	sum hash.Hash
}

func (s *summed) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.sum.Write(p[:n])
	return n, err
}

// ReadByte makes summed an io.ByteReader for binary.ReadUvarint.
func (s *summed) ReadByte() (byte, error) {
	b, err := s.r.ReadByte()
	if err == nil {
		s.sum.Write([]byte{b})
	}
	return b, err
}

func (s *summed) line(limit int) ([]byte, error) {
	var line []byte
	for len(line) < limit {
		b, err := s.ReadByte()
		if err != nil {
			return nil, err
		}
		if b == '\n' {
			return line, nil
		}
		line = append(line, b)
	}
	return nil, ErrDamaged
}

func (s *summed) record() (Record, error) {
	key, err := s.field(MaxKey)
	if err != nil || len(key) == 0 {
		return Record{}, err
	}
	value, err := s.field(MaxValue)
	return Record{Key: string(key), Value: value}, err
}

func (s *summed) field(limit uint64) ([]byte, error) {
	n, err := binary.ReadUvarint(s)
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, ErrDamaged
	}
	p := make([]byte, n)
	_, err = io.ReadFull(s, p)
	return p, err
}
