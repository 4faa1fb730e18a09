package jws_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/cloud/api/jws"
)

type document struct {
	Region string `json:"region"`
}

func TestOnlyWhatWasSignedForThePurposeOpens(t *testing.T) {
	public, key, _ := ed25519.GenerateKey(nil)
	other, _, _ := ed25519.GenerateKey(nil)
	signed, err := jws.Sign(key, "directive", document{"jp"})
	if err != nil {
		t.Fatal(err)
	}
	var got document
	if err := jws.Open([]ed25519.PublicKey{other, public}, "directive", signed, &got); err != nil || got.Region != "jp" {
		t.Fatalf("a good document: %v, %+v", err, got)
	}
	part := strings.Split(signed, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"directive","kid":"` + jws.KeyID(public) + `"}`))
	embedded := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","typ":"directive","jwk":{"kty":"OKP","crv":"Ed25519","x":"` + base64.RawURLEncoding.EncodeToString(other) + `"}}`))
	for _, c := range []struct {
		rule, purpose, text string
		keys                []ed25519.PublicKey
	}{
		{"another purpose", "receipt", signed, []ed25519.PublicKey{public}},
		{"another key", "directive", signed, []ed25519.PublicKey{other}},
		{"no key", "directive", signed, nil},
		{"changed content", "directive", part[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"region":"us"}`)) + "." + part[2], []ed25519.PublicKey{public}},
		{"no signature", "directive", none + "." + part[1] + ".", []ed25519.PublicKey{public}},
		{"a key of its own", "directive", embedded + "." + part[1] + "." + part[2], []ed25519.PublicKey{public}},
		{"no document", "directive", "a.b.c", []ed25519.PublicKey{public}},
		{"too long", "directive", signed + strings.Repeat("A", jws.MaxText), []ed25519.PublicKey{public}},
	} {
		if err := jws.Open(c.keys, c.purpose, c.text, &document{}); !errors.Is(err, jws.ErrSignature) {
			t.Errorf("%s: got %v, want ErrSignature", c.rule, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	public, key, _ := ed25519.GenerateKey(nil)
	signed, _ := jws.Sign(key, "directive", document{"jp"})
	f.Add(signed)
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, text string) {
		var got document
		if err := jws.Open([]ed25519.PublicKey{public}, "directive", text, &got); err == nil && got.Region != "jp" {
			t.Fatalf("%q opened as %+v", text, got)
		}
	})
}
