package ippsystem_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/print"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

// TestReferenceRegion registers over IPP in the reference region's print service, whose administrator types the code.
func TestReferenceRegion(t *testing.T) {
	region := servertest.Start(t, servertest.Codes(time.Minute, time.Second))
	password := region.Administrator(t, "it@example.jp")
	s, err := print.Open(print.Options{Kind: print.KindIPPSystem, URL: region.URL + "/ipp/system", RootCAs: region.Roots})
	if err != nil {
		t.Fatal(err)
	}
	const verifier = mfpgate.Secret("0123456789012345678901234567890123456789012")
	code, err := s.RequestCode(t.Context(), mfpgate.CodeRequest{ID: "reg_1.1", Purpose: mfpgate.PurposeRegister, Device: device("a"), User: "hana@example.jp", Site: "osaka", Verifier: verifier})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Redeem(t.Context(), code, verifier); !errors.Is(err, mfpgate.ErrPending) {
		t.Errorf("before the decision: %v", err)
	}
	if status, page := region.Decide(t, "it@example.jp", password, code.UserCode.Reveal(), "hana@example.jp"); status != 200 {
		t.Fatalf("decision: %d %s", status, page)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.AwaitEvent(ctx, code); err != nil {
		t.Errorf("event: %v", err)
	}
	grant, err := s.Redeem(t.Context(), code, verifier)
	if err != nil {
		t.Fatal(err)
	}
	var first mfpgate.Printer
	for i := range 2 {
		got, err := s.Enter(t.Context(), grant, mfpgate.PrinterRequest{ID: "reg_1", Device: device("a"), User: "hana@example.jp"})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = got.Printer
		}
		if !got.Done || got.Printer.ID != first.ID || got.Printer.URI != first.URI || !strings.HasPrefix(got.Printer.URI, "ipp") {
			t.Errorf("registered %d: %+v, first %+v", i+1, got, first)
		}
	}
	if _, err := s.Enter(t.Context(), grant, mfpgate.PrinterRequest{ID: "reg_2", Device: device("b")}); !errors.Is(err, mfpgate.ErrRefused) {
		t.Errorf("another device with the same token: %v", err)
	}
}
