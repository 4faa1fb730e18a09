package print

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

// What a poll is answered besides a token (RFC 8628 §3.5, RFC 6749 §5.2).
var (
	errPending = &oauthAnswer{"authorization_pending", "nobody has decided yet"}
	errSlow    = &oauthAnswer{"slow_down", "wait 5 seconds longer between polls from now on"}
	errExpired = &oauthAnswer{"expired_token", "the code has expired; ask for another one"}
	errDenied  = &oauthAnswer{"access_denied", "an administrator said no"}
	errGrant   = &oauthAnswer{"invalid_grant", "this code is not known, was redeemed, or is another client's"}
)

type oauthAnswer struct{ code, text string }

func (a *oauthAnswer) Error() string { return a.code }

// validVerifier is RFC 7636 §4.1.
var validVerifier = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// token is RFC 8628 §3.4.
func (s *Service) token(w http.ResponseWriter, r *http.Request) {
	in, wrong := form(w, r)
	switch {
	case wrong != "":
		s.oauth(w, r, "invalid_request", wrong)
		return
	case in.Get("grant_type") == "":
		s.oauth(w, r, "invalid_request", "send the grant_type")
		return
	case in.Get("grant_type") != grantDevice:
		s.oauth(w, r, "unsupported_grant_type", "the grant_type must be "+grantDevice)
		return
	case in.Get("device_code") == "" || in.Get("client_id") == "":
		s.oauth(w, r, "invalid_request", "send the device_code and the client_id")
		return
	}
	answer, err := s.poll(r.Context(), in.Get("device_code"), in.Get("client_id"), in.Get("code_verifier"))
	var said *oauthAnswer
	switch {
	case err == nil:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Pragma", "no-cache")
		_, _ = w.Write([]byte(answer.Reveal()))
	case errors.As(err, &said):
		s.oauth(w, r, said.code, said.text)
	default:
		s.oauthFailed(w, r, err)
	}
}

// poll returns the answer of a redeemed code, or an oauthAnswer.
func (s *Service) poll(ctx context.Context, deviceCode, client, verifier string) (mfpgate.Secret, error) {
	hash := s.codeHash(deviceCode)
	var c codeRecord
	err := s.Store.View(ctx, func(at store.Snapshot) error {
		found, there, err := store.FindJSON[codeRecord](at, codeKey(hash))
		c = found
		if err == nil && (!there || found.Client != client) {
			return errGrant
		}
		return err
	})
	if err != nil {
		return "", err
	}
	now := s.Clock.Now().UTC()
	switch {
	case c.State == codeConsumed:
		return s.again(c, verifier, now)
	case c.State == codeDenied:
		return "", errDenied
	case c.expired(now):
		return "", errExpired
	case c.State == codePending && s.polls.early(hash, now):
		return "", errSlow
	case c.State == codePending:
		return "", errPending
	}
	return s.redeem(ctx, hash, verifier)
}

// proves tells whether the verifier is the one whose challenge the code was requested with (RFC 7636 §4.6).
func (c codeRecord) proves(verifier string) bool {
	if c.Challenge == "" {
		return verifier == ""
	}
	sum := sha256.Sum256([]byte(verifier))
	got := base64.RawURLEncoding.EncodeToString(sum[:])
	return validVerifier.MatchString(verifier) && subtle.ConstantTimeCompare([]byte(got), []byte(c.Challenge)) == 1
}

// again answers who redeemed a code before, if that was just now and it is the same: a code without a challenge proves nobody.
func (s *Service) again(c codeRecord, verifier string, now time.Time) (mfpgate.Secret, error) {
	if c.Challenge == "" || !c.proves(verifier) || c.ConsumedAt == nil || now.Sub(*c.ConsumedAt) >= ReplayWindow {
		return "", errGrant
	}
	return s.Sealer.Open("print/"+codeKey(c.Hash), c.Answer)
}

// redeem makes an approved code consumed and its token good, in one transaction. The code is read in it: of many at once one
// finds it approved.
func (s *Service) redeem(ctx context.Context, hash, verifier string) (answer mfpgate.Secret, err error) {
	token := secret("pt_")
	err = s.update(ctx, func(tx store.Tx) error {
		now := s.Clock.Now().UTC()
		c, there, err := store.FindJSON[codeRecord](tx, codeKey(hash))
		switch {
		case err != nil:
			return err
		case !there:
			return errGrant
		case c.State == codeConsumed:
			if _, ours, err := store.FindJSON[tokenRecord](tx, tokenKey(s.tokenHash(token.Reveal()))); err != nil || ours {
				return err // committed by a try whose outcome was not known
			}
			answer, err = s.again(c, verifier, now)
			return err
		case c.expired(now):
			return errExpired
		case c.State != codeApproved:
			return errPending
		case !c.proves(verifier):
			return errGrant
		}
		text, err := json.Marshal(struct {
			Token   string `json:"access_token"`
			Type    string `json:"token_type"`
			Expires int64  `json:"expires_in"`
			Scope   string `json:"scope"`
		}{token.Reveal(), "Bearer", wholeSeconds(tokenLifetime), c.Scope})
		if err != nil {
			return err
		}
		answer = mfpgate.Secret(text)
		c.State, c.ConsumedAt, c.Answer = codeConsumed, &now, s.Sealer.Seal("print/"+codeKey(hash), answer)
		t := tokenRecord{
			Code: c.ID, CodeHash: hash, Client: c.Client, Scope: c.Scope, Asked: c.Asked, Allowed: c.Allowed, By: c.DecidedBy, Expires: now.Add(tokenLifetime),
		}
		key := tokenKey(s.tokenHash(token.Reveal()))
		return errors.Join(
			store.SetJSON(tx, codeKey(hash), c), store.SetJSON(tx, key, t),
			s.journal.Intend(tx, journal.Intent{ID: "forget-token/" + c.ID, Kind: kindForget, NotBefore: t.Expires, Payload: forgetting(key)}),
			s.journal.Audit(tx, journal.Entry{Actor: c.Client, Action: "code.redeemed", Object: c.ID}),
		)
	})
	if err != nil {
		return "", err
	}
	s.polls.drop(hash)
	return answer, nil
}

// update changes the store. fn reads first what it would change, for it may have been committed before.
func (s *Service) update(ctx context.Context, fn func(store.Tx) error) error {
	return store.UpdateUntilKnown(ctx, s.Store, fn)
}
