package jws_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
)

func TestAReceiptSaysWhatIsSignedInIt(t *testing.T) {
	public, key, _ := ed25519.GenerateKey(nil)
	other, _, _ := ed25519.GenerateKey(nil)
	good := mfpgate.DeletionReceipt{ID: "rcp_1", Region: "us", MFP: "us-mfp-1", Move: "mov_1", Purged: []mfpgate.HeldData{{Class: "jobs", Items: 2, Bytes: 9}}}
	signed := func(purpose string, r mfpgate.DeletionReceipt) mfpgate.DeletionReceipt {
		text, err := jws.Sign(key, purpose, r)
		if err != nil {
			t.Fatal(err)
		}
		r.Signed = text
		return r
	}
	altered := signed(api.PurposeReceipt, good)
	altered.Purged = []mfpgate.HeldData{{Class: "jobs", Items: 3, Bytes: 9}}
	more := signed(api.PurposeReceipt, good)
	more.Left = []mfpgate.HeldData{{Class: "logs", Items: 1, Bytes: 1}}
	for _, c := range []struct {
		rule string
		r    mfpgate.DeletionReceipt
		key  ed25519.PublicKey
		want error
	}{
		{"what the region signed", signed(api.PurposeReceipt, good), public, nil},
		{"another count beside the signature", altered, public, jws.ErrSignature},
		{"a field that is not signed", more, public, jws.ErrSignature},
		{"another region's key", signed(api.PurposeReceipt, good), other, jws.ErrSignature},
		{"signed for something else", signed(api.PurposeDirective, good), public, jws.ErrSignature},
		{"not signed at all", good, public, jws.ErrSignature},
	} {
		if err := jws.CheckReceipt([]ed25519.PublicKey{c.key}, c.r); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.rule, err, c.want)
		}
	}
}

func TestPublicKeysAreReadAsTheyAreWritten(t *testing.T) {
	public, _, _ := ed25519.GenerateKey(nil)
	if got, err := jws.ParseKey(jws.EncodeKey(public)); err != nil || !got.Equal(public) {
		t.Errorf("%v, %v", got, err)
	}
	for rule, text := range map[string]string{
		"nothing": "", "no base64": "*", "a byte too few": base64.StdEncoding.EncodeToString(public[1:]), "base64 for URLs without its end": base64.RawURLEncoding.EncodeToString(public),
	} {
		if _, err := jws.ParseKey(text); !errors.Is(err, jws.ErrKey) {
			t.Errorf("%s: %v", rule, err)
		}
	}
}
