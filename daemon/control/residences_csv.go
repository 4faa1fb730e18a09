package control

import (
	"cmp"
	"encoding/csv"
	"io"
	"strconv"
	"strings"

	"github.com/mfpgate/mfpgate"
)

// residenceColumns are those of WriteResidencesCSV. A device has several records: what each is stands in "record".
var residenceColumns = []string{"deviceId", "name", "mfp", "record", "state", "reason", "detail", "market", "home", "since", "registration", "epoch", "enforcement", "bypassed", "moveId",
	"service", "children", "region", "class", "items", "bytes", "receiptId", "purgedAt", "digest", "signed"}

// WriteResidencesCSV writes residences as RFC 4180 does, with a header: of each device one record "residence", and then one for each
// "service", each class of "data", and each "receipt" with each class that it says was "purged" or "left". Cells are kept from being
// formulas as those of WriteDevicesCSV are.
func WriteResidencesCSV(out io.Writer, list []mfpgate.Residence) error {
	w := csv.NewWriter(out)
	w.UseCRLF = true
	if err := w.Write(residenceColumns); err != nil {
		return err
	}
	var err error
	for _, of := range list {
		record := func(kind string, cells map[string]string) {
			row := make([]string, len(residenceColumns))
			for i, column := range residenceColumns {
				row[i] = noFormula(cells[column])
			}
			row[0], row[1], row[2], row[3] = noFormula(string(of.Device)), noFormula(of.Name), noFormula(of.MFP), kind
			if err == nil {
				err = w.Write(row)
			}
		}
		record("residence", map[string]string{"state": string(of.State), "reason": string(of.Reason), "detail": of.Detail, "market": of.Market, "home": of.Home, "since": cellTime(of.Since),
			"registration": of.Registration, "epoch": strconv.FormatUint(of.Epoch, 10), "enforcement": cmp.Or(string(of.Enforcement), "none"), "bypassed": of.Bypassed, "moveId": string(of.Move)})
		for _, s := range of.Services {
			record("service", map[string]string{"service": s.ID, "children": strings.Join(s.Children, " ")})
		}
		for _, d := range of.Data {
			record("data", heldCells(d.HeldData, d.Region, ""))
		}
		for _, r := range of.Receipts {
			record("receipt", map[string]string{"receiptId": r.ID, "region": r.Region, "moveId": string(r.Move), "purgedAt": cellTime(r.PurgedAt), "digest": r.Digest, "signed": r.Signed})
			for _, d := range r.Purged {
				record("purged", heldCells(d, r.Region, r.ID))
			}
			for _, d := range r.Left {
				record("left", heldCells(d, r.Region, r.ID))
			}
		}
	}
	if err != nil {
		return err
	}
	w.Flush()
	return w.Error()
}

func heldCells(d mfpgate.HeldData, region, receipt string) map[string]string {
	return map[string]string{"region": region, "class": d.Class, "items": strconv.Itoa(d.Items), "bytes": strconv.FormatInt(d.Bytes, 10), "receiptId": receipt}
}
