package server

import (
	"errors"
	"net/http"
	"strings"

	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

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

// once runs do, unless the caller has used the key: then it returns the first answer, or refuses if the body differs.
func once[T any](tx store.Tx, who principal, op string, in Idempotent, request any, do func() (T, error)) (answer T, replayed bool, err error) {
	answer, replayed, err = journal.Once(tx, op+"/"+string(who.role)+"/"+who.id, in.Key, request, do)
	if errors.Is(err, journal.ErrDiffers) {
		err = refuse(http.StatusUnprocessableEntity, ReasonKeyReuse, "the key was used for another body; send a new one")
	}
	return answer, replayed, err
}
