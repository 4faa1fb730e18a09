package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/mfpgate/mfpgate/store"
)

// remembered is how many idempotency keys of one caller and operation are kept. A caller that sends one request again
// does so before it has sent sixteen others of the kind.
const remembered = 16

// ring is the record of the last keys, the newest last.
type ring struct {
	Entries []ringEntry `json:"entries"`
}

type ringEntry struct {
	Key    string          `json:"key"`  // SHA-256 of the header: it is foreign text
	Body   string          `json:"body"` // SHA-256 of the request as this version reads it
	Answer json.RawMessage `json:"answer"`
}

// Idempotent is the part of every POST.
type Idempotent struct {
	Key string `header:"Idempotency-Key" maxLength:"256" doc:"Unique per request; the same key and body again gets the first answer again"`
}

// need refuses a POST without a key.
func (i Idempotent) need() error {
	if strings.Trim(i.Key, `" `) == "" {
		return refuse(http.StatusBadRequest, ReasonNoIdempotencyKey, "send an Idempotency-Key that is unique to this request")
	}
	return nil
}

// once runs do, unless the caller's ring holds the key: then it returns the first answer, or refuses if the body differs.
func once[T any](tx store.Tx, who principal, op string, in Idempotent, request any, do func() (T, error)) (answer T, replayed bool, err error) {
	at := "idempotency/" + op + "/" + string(who.role) + "/" + who.id
	kept, _, err := get[ring](tx, at)
	if err != nil {
		return answer, false, err
	}
	canonical, err := json.Marshal(request)
	if err != nil {
		return answer, false, err
	}
	key, body := digest([]byte(in.Key)), digest(canonical)
	for _, e := range kept.Entries {
		if e.Key != key {
			continue
		}
		if e.Body != body {
			return answer, false, refuse(http.StatusUnprocessableEntity, ReasonKeyReuse, "the key was used for another body; send a new one")
		}
		return answer, true, json.Unmarshal(e.Answer, &answer)
	}
	if answer, err = do(); err != nil {
		return answer, false, err
	}
	data, err := json.Marshal(answer)
	if err != nil {
		return answer, false, err
	}
	kept.Entries = append(kept.Entries, ringEntry{Key: key, Body: body, Answer: data})
	if over := len(kept.Entries) - remembered; over > 0 {
		kept.Entries = kept.Entries[over:]
	}
	return answer, false, put(tx, at, kept)
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
