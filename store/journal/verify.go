package journal

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/mfpgate/mfpgate/store"
)

// Wrong says what is wrong with an audit chain.
type Wrong string

// What may be wrong.
const (
	Missing   Wrong = "missing"   // the entry is not there, though later ones are
	Changed   Wrong = "changed"   // its content is not what was hashed
	Moved     Wrong = "moved"     // it stands in the place of another
	Unchained Wrong = "unchained" // it is whole, but does not continue the one before
	Truncated Wrong = "truncated" // it and those behind it are gone
	Headless  Wrong = "headless"  // the record of the chain's end is gone, damaged or not that of the last entry
)

// Chain is what VerifyAudit found of one writer's chain.
type Chain struct {
	Gateway, Room string
	Entries       uint64 // there are
	Hash          string // of the last that is right; kept elsewhere, it shows later that the whole chain was rewritten
	Wrong         Wrong  // empty if all is right
	Seq           uint64 // of the first entry that is wrong
}

// Report is what VerifyAudit found, in the order of keys.
type Report struct{ Chains []Chain }

// Err names the first bad entry, or is nil. It is a store.ErrDamaged.
func (r Report) Err() error {
	for _, c := range r.Chains {
		if c.Wrong != "" {
			return fmt.Errorf("audit of %s/%s: entry %d: %s: %w", c.Gateway, c.Room, c.Seq, c.Wrong, store.ErrDamaged)
		}
	}
	return nil
}

// VerifyAudit checks every chain under prefix, which is where the journal's "audit/" stands in s: "audit/" for the view that the
// journal has, or a room's prefix and that. It stops looking at a chain at its first bad entry. Whoever can write the store can
// write a chain anew or remove it: against that, the report's hashes are to be kept elsewhere.
func VerifyAudit(ctx context.Context, s store.Store, prefix string) (report Report, err error) {
	err = s.View(ctx, func(at store.Snapshot) error {
		report = Report{}
		var v *verifier
		end := func() {
			if v != nil {
				report.Chains = append(report.Chains, v.end())
			}
		}
		for record, err := range store.All(at, prefix) {
			if err != nil {
				return err
			}
			parts := strings.Split(strings.TrimPrefix(record.Key, prefix), "/")
			if len(parts) != 3 {
				return fmt.Errorf("verify audit: key %q is not of an audit", record.Key)
			}
			if v == nil || v.Gateway != parts[0] || v.Room != parts[1] {
				end()
				v = &verifier{Chain: Chain{Gateway: parts[0], Room: parts[1], Hash: noHash}}
			}
			v.next(parts[2], record)
		}
		end()
		return nil
	})
	return report, err
}

// verifier walks along a chain.
type verifier struct {
	Chain
	right uint64 // entries up to this are
	last  *auditLast
}

func (v *verifier) fault(w Wrong, seq uint64) {
	if v.Wrong == "" {
		v.Wrong, v.Seq = w, seq
	}
}

func (v *verifier) next(place string, r store.Record) {
	if place == auditHead {
		last, err := decodeAuditLast(r.Key, r.Value)
		if err == nil {
			v.last = last
		}
		return
	}
	v.Entries++
	expected := v.right + 1
	seq, err := strconv.ParseUint(place, 10, 64)
	if v.Wrong != "" {
		return
	}
	if err != nil || seq > expected {
		v.fault(Missing, expected)
		return
	}
	e, err := decodeAudit(r.Key, r.Value)
	switch {
	case err != nil, e.Hash != e.hash(v.Gateway, v.Room):
		v.fault(Changed, expected)
	case e.Seq != seq || seq != expected:
		v.fault(Moved, expected)
	case e.Prev != v.Hash:
		v.fault(Unchained, expected)
	default:
		v.right, v.Hash = expected, e.Hash
	}
}

func (v *verifier) end() Chain {
	switch {
	case v.last == nil || v.last.Seq < v.right || v.last.Seq == v.right && v.last.Hash != v.Hash:
		v.fault(Headless, v.right)
	case v.last.Seq > v.right:
		v.fault(Truncated, v.right+1)
	}
	return v.Chain
}
