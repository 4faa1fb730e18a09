package print

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

// askToken is a 401 of RFC 6750.
func (s *Service) askToken(reason mfpgate.Reason, detail, code string) *refusal {
	challenge := `Bearer realm="mfpcloud ` + s.Region + `"`
	if code != "" {
		challenge += `, error="` + code + `"`
	}
	return refuse(http.StatusUnauthorized, reason, detail).with("WWW-Authenticate", challenge)
}

func bearer(r *http.Request) (mfpgate.Secret, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return mfpgate.Secret(token), strings.EqualFold(scheme, "Bearer") && token != ""
}

// grant is the record of a token that is good now.
func (s *Service) grant(at store.Getter, token mfpgate.Secret) (tokenRecord, error) {
	t, there, err := store.FindJSON[tokenRecord](at, tokenKey(s.tokenHash(token.Reveal())))
	if err == nil && (!there || !t.Expires.After(s.Clock.Now())) {
		return t, s.askToken(ReasonBadToken, "This token is not known, or its time is over. Ask for another approval.", "invalid_token")
	}
	return t, err
}

// granted is the caller's grant.
func (s *Service) granted(r *http.Request) (token mfpgate.Secret, t tokenRecord, err error) {
	token, ok := bearer(r)
	if !ok {
		return "", t, s.askToken(ReasonNoToken, "Send the token as `Authorization: Bearer TOKEN`.", "")
	}
	err = s.Store.View(r.Context(), func(at store.Snapshot) (err error) {
		t, err = s.grant(at, token)
		return err
	})
	if err == nil {
		s.Caller(r, t.Client)
	}
	return token, t, err
}

func (t tokenRecord) needs(scope string) error {
	if !hasScope(t.Scope, scope) {
		return refuse(http.StatusForbidden, ReasonScope, "The token lacks the scope "+scope+".").
			with("WWW-Authenticate", `Bearer error="insufficient_scope", scope="`+scope+`"`)
	}
	return nil
}

// covers tells whether a grant is for this printer: by its id or by its device.
func (t tokenRecord) covers(p printerRecord) bool {
	if t.Asked.PrinterID != "" {
		return t.Asked.PrinterID == p.ID
	}
	return t.Asked.UUID == p.UUID
}

// own is the printer with this id, if the grant is for it. One that is another's and one that is not there are told apart only
// to who may know.
func (t tokenRecord) own(at store.Getter, id string) (printerRecord, error) {
	p, there, err := store.FindJSON[printerRecord](at, printerKey(id))
	switch {
	case err != nil:
		return p, err
	case there && t.covers(p):
		return p, nil
	case t.Asked.PrinterID == id, !there && t.Asked.PrinterID == "":
		return p, refuse(http.StatusNotFound, ReasonNoPrinter, "There is no such printer here (any more).")
	}
	return p, refuse(http.StatusForbidden, ReasonOtherDevice, "The grant is for another device.")
}

// document reads a request's JSON, of which unknown fields are ignored.
func document(w http.ResponseWriter, r *http.Request, v any) error {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxDocument))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return refuse(http.StatusRequestEntityTooLarge, ReasonTooLarge, "The document is longer than 32 KiB.")
	case err != nil:
		return context.Canceled
	}
	if err := json.Unmarshal(data, v); err != nil {
		return refuse(http.StatusBadRequest, ReasonInvalid, "The document is not the JSON that this resource takes.")
	}
	return nil
}
