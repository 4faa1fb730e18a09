package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mfpgate/mfpgate/store"
)

// Remembered is how many keys of one scope Once keeps. A caller that sends one request again does so before it has sent
// sixteen others of the scope.
const Remembered = 16

// ring is the record of the last keys, the newest last.
type ring struct {
	Entries []ringEntry `json:"entries"`
}

type ringEntry struct {
	Key    string          `json:"key"`  // SHA-256 of the key: it is foreign text
	Body   string          `json:"body"` // SHA-256 of the request as this version reads it
	Answer json.RawMessage `json:"answer"`
}

// Once runs do, unless the scope's ring holds the key: then it returns the first answer, or ErrDiffers if the request differs.
// The ring is written in the transaction that do writes in, so that an answer is remembered exactly if its effect is there;
// an error of do remembers nothing. A scope (256 bytes) is a caller and an operation; those that do not trust each other must not
// share one. request and the answer go through encoding/json; an answer may measure 48 KiB, and large ones displace older
// ones earlier.
func Once[T any](tx store.Tx, scope, key string, request any, do func() (T, error)) (answer T, replayed bool, err error) {
	if err := name("idempotency scope", scope, 256); err != nil {
		return answer, false, err
	}
	at := "idempotency/" + scope
	var kept ring
	if err := store.GetJSON(tx, at, &kept); err != nil && !errors.Is(err, store.ErrNotFound) {
		return answer, false, err
	}
	canonical, err := json.Marshal(request)
	if err != nil {
		return answer, false, fmt.Errorf("request of %s: %w", scope, err)
	}
	hashed, body := digest([]byte(key)), digest(canonical)
	for _, e := range kept.Entries {
		if e.Key != hashed {
			continue
		}
		if e.Body != body {
			return answer, false, fmt.Errorf("request of %s: %w", scope, ErrDiffers)
		}
		return answer, true, json.Unmarshal(e.Answer, &answer)
	}
	if answer, err = do(); err != nil {
		return answer, false, err
	}
	data, err := json.Marshal(answer)
	if err != nil {
		return answer, false, fmt.Errorf("answer of %s: %w", scope, err)
	}
	if len(data) > maxAnswers {
		return answer, false, fmt.Errorf("answer of %s: %d bytes, at most %d: %w", scope, len(data), maxAnswers, store.ErrTooLarge)
	}
	kept.Entries = append(kept.Entries, ringEntry{Key: hashed, Body: body, Answer: data})
	for len(kept.Entries) > Remembered || kept.bytes() > maxAnswers {
		kept.Entries = kept.Entries[1:]
	}
	return answer, false, store.SetJSON(tx, at, kept)
}

const maxAnswers = 48 << 10 // bytes of a ring's answers

func (r ring) bytes() (n int) {
	for _, e := range r.Entries {
		n += len(e.Answer)
	}
	return n
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
