package control

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/mfpgate/mfpgate"
)

// residenceColumns are named as in the API, as far as it has them.
var residenceColumns = []string{"deviceId", "name", "mfp", "market", "home", "state", "reason", "since", "registration", "epoch", "services", "data",
	"receiptId", "receiptRegion", "purgedAt", "moveId", "enforcement", "bypassed"}

// WriteResidencesCSV writes where data are as WriteDevicesCSV does devices. Of several receipts it has the newest.
func WriteResidencesCSV(out io.Writer, list []mfpgate.Residence) error {
	w := csv.NewWriter(out)
	w.UseCRLF = true
	rows := [][]string{residenceColumns}
	for _, r := range list {
		var receipt mfpgate.DeletionReceipt
		if len(r.Receipts) > 0 {
			receipt = r.Receipts[0]
		}
		row := []string{string(r.Device), r.Name, r.MFP, r.Market, r.Home, string(r.State), string(r.Reason), cellTime(r.Since), r.Registration,
			strconv.FormatUint(r.Epoch, 10), servicesCell(r.Services), dataCell(r.Data), receipt.ID, receipt.Region, cellTime(receipt.PurgedAt), string(r.Move),
			string(r.Enforcement), r.Bypassed}
		for i, cell := range row {
			row[i] = noFormula(cell)
		}
		rows = append(rows, row)
	}
	return w.WriteAll(rows)
}

// servicesCell is "document-cloud (translate, whiteboard); print".
func servicesCell(list []mfpgate.HeldService) string {
	texts := make([]string, len(list))
	for i, s := range list {
		if texts[i] = s.ID; len(s.Children) > 0 {
			texts[i] += " (" + strings.Join(s.Children, ", ") + ")"
		}
	}
	return strings.Join(texts, "; ")
}

// dataCell is "address-book: 12 items, 3400 bytes in jp; …".
func dataCell(list []mfpgate.ResidentData) string {
	texts := make([]string, len(list))
	for i, d := range list {
		texts[i] = fmt.Sprintf("%s: %d items, %d bytes in %s", d.Class, d.Items, d.Bytes, d.Region)
	}
	return strings.Join(texts, "; ")
}
