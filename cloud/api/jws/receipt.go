package jws

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
)

// CheckReceipt returns nil if a deletion receipt says what one of the keys has signed in it, no more and no less; else ErrSignature.
func CheckReceipt(keys []ed25519.PublicKey, r mfpgate.DeletionReceipt) error {
	var signed mfpgate.DeletionReceipt
	if err := Open(keys, api.PurposeReceipt, r.Signed, &signed); err != nil {
		return err
	}
	r.Signed, signed.Signed = "", ""
	said, err := json.Marshal(r)
	if err != nil {
		return err
	}
	meant, err := json.Marshal(signed)
	if err != nil {
		return err
	}
	if !bytes.Equal(said, meant) {
		return fmt.Errorf("receipt %.64q does not say what is signed in it: %w", r.ID, ErrSignature)
	}
	return nil
}
