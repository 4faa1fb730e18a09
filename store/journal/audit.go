package journal

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/store"
)

const (
	auditPrefix = "audit/"
	auditHead   = "head" // sorts behind the numbers
	maxAudit    = 48 << 10
)

// Entry is a line of the audit chain.
type Entry struct {
	Actor  string `json:"actor"`  // who: a user, a room, a schedule
	Action string `json:"action"` // room.past-participle
	Object string `json:"object"`
	// Before and After are JSON values, or Digest of one that must not stand here. None is null.
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
	Detail string          `json:"detail,omitempty"`

	// What Audit sets.
	Seq  uint64    `json:"seq"` // 1, 2, …
	Time time.Time `json:"time"`
	Prev string    `json:"prev"` // hash of the entry before, in hex; of none it is 64 zeros
	Hash string    `json:"hash"`
}

type auditRow struct {
	Schema int `json:"schema"`
	Entry
}

type auditLast struct {
	Schema int    `json:"schema"`
	Seq    uint64 `json:"seq"`
	Hash   string `json:"hash"`
}

var noHash = strings.Repeat("0", 2*sha256.Size)

// Digest is a JSON string with the SHA-256 of a value's JSON text, for what an audit must not show.
func Digest(v any) (json.RawMessage, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return json.RawMessage(`"sha256:` + digest(data) + `"`), nil
}

// hash is the SHA-256 of the line "mfpgate audit 1\n" and of these fields, each behind its length in bytes (big-endian, 4
// bytes): gateway, room, sequence number (big-endian, 8 bytes), time (RFC 3339 in UTC, nanoseconds without trailing zeros), actor, action, object, before,
// after, detail, previous hash (32 bytes). Before and after are the JSON texts as stored: compact, HTML escaped.
func (e Entry) hash(gateway, room string) string {
	prev, _ := hex.DecodeString(e.Prev) // one that is not hex is as none, and so differs from what it should be
	sum := sha256.New()
	sum.Write([]byte("mfpgate audit 1\n"))
	for _, field := range [][]byte{
		[]byte(gateway), []byte(room), binary.BigEndian.AppendUint64(nil, e.Seq), []byte(e.Time.UTC().Format(time.RFC3339Nano)),
		[]byte(e.Actor), []byte(e.Action), []byte(e.Object), e.Before, e.After, []byte(e.Detail), prev,
	} {
		sum.Write(binary.BigEndian.AppendUint32(nil, uint32(len(field))))
		sum.Write(field)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func auditKey(chain string, seq uint64) string { return fmt.Sprintf("%s%020d", chain, seq) }

func decodeAudit(key string, data []byte) (*auditRow, error) {
	return decode(key, data, func(r *auditRow) int { return r.Schema }, func(r *auditRow) bool { return r.Seq > 0 })
}

func getAuditLast(g store.Getter, chain string) (*auditLast, error) {
	data, err := g.Get(chain + auditHead)
	if errors.Is(err, store.ErrNotFound) {
		return &auditLast{Schema: schema, Hash: noHash}, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeAuditLast(chain+auditHead, data)
}

func decodeAuditLast(key string, data []byte) (*auditLast, error) {
	return decode(key, data, func(l *auditLast) int { return l.Schema }, func(l *auditLast) bool {
		return l.Seq > 0 && len(l.Hash) == len(noHash)
	})
}

// Audit writes an entry of the journal's chain in the caller's transaction. It touches two keys; entries of one chain conflict
// with each other. It refuses an entry of more than 48 KiB with store.ErrTooLarge.
func (j *Journal) Audit(tx store.Tx, e Entry) (err error) {
	if j.Gateway == "" || j.Room == "" {
		return fmt.Errorf("audit: the journal was made without gateway and room: %w", ErrInvalid)
	}
	if e.Action == "" {
		return fmt.Errorf("audit: no action: %w", ErrInvalid)
	}
	for _, text := range []*string{&e.Actor, &e.Action, &e.Object, &e.Detail} {
		*text = strings.ToValidUTF8(*text, "\uFFFD") // as encoding/json would write it
	}
	if e.Before, err = canonical(e.Before); err != nil {
		return fmt.Errorf("audit %s: before: %w", e.Action, err)
	}
	if e.After, err = canonical(e.After); err != nil {
		return fmt.Errorf("audit %s: after: %w", e.Action, err)
	}
	if n := len(e.Actor) + len(e.Action) + len(e.Object) + len(e.Detail) + len(e.Before) + len(e.After); n > maxAudit {
		return fmt.Errorf("audit %s: %d bytes, at most %d: %w", e.Action, n, maxAudit, store.ErrTooLarge)
	}
	chain := j.chain()
	last, err := getAuditLast(tx, chain)
	if err != nil {
		return fmt.Errorf("audit %s: %w", e.Action, err)
	}
	e.Seq, e.Prev, e.Time = last.Seq+1, last.Hash, j.Clock.Now().Round(0).UTC()
	e.Hash = e.hash(j.Gateway, j.Room)
	last.Seq, last.Hash = e.Seq, e.Hash
	return errors.Join(store.SetJSON(tx, auditKey(chain, e.Seq), auditRow{schema, e}), store.SetJSON(tx, chain+auditHead, last))
}

// NextAudit returns the sequence number that the next entry of the journal's chain gets, if g is the transaction that writes it.
func (j *Journal) NextAudit(g store.Getter) (uint64, error) {
	last, err := getAuditLast(g, j.chain())
	if err != nil {
		return 0, fmt.Errorf("audit: %w", err)
	}
	return last.Seq + 1, nil
}

func (j *Journal) chain() string { return auditPrefix + j.Gateway + "/" + j.Room + "/" }

// ListAudit returns up to limit entries of the journal's chain, the newest first: those before sequence number before, or from
// the newest if that is 0. It does not verify them.
func (j *Journal) ListAudit(ctx context.Context, before uint64, limit int) (list []Entry, err error) {
	err = j.store.View(ctx, func(at store.Snapshot) error {
		list = nil
		last, err := getAuditLast(at, j.chain())
		if err != nil {
			return err
		}
		seq := last.Seq
		if before > 0 {
			seq = min(seq, before-1)
		}
		for ; seq > 0 && len(list) < limit; seq-- {
			key := auditKey(j.chain(), seq)
			data, err := at.Get(key)
			if err != nil {
				return fmt.Errorf("audit entry %d: %w", seq, err)
			}
			r, err := decodeAudit(key, data)
			if err != nil {
				return err
			}
			list = append(list, r.Entry)
		}
		return nil
	})
	return list, err
}
