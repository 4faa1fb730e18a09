package control

import (
	"encoding/csv"
	"io"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
)

// deviceColumns are named as in the API.
var deviceColumns = []string{"deviceId", "name", "make", "model", "serial", "attachment", "address", "state", "reason", "since",
	"monitoringMode", "market", "home", "firmware", "location", "lastSeen"}

// WriteDevicesCSV writes devices as RFC 4180 does, with a header. Names come from devices, and a spreadsheet would run one
// that starts like a formula: such a cell gets an apostrophe before it, which spreadsheets do not show.
func WriteDevicesCSV(out io.Writer, devices []mfpgate.Device) error {
	w := csv.NewWriter(out)
	w.UseCRLF = true
	rows := [][]string{deviceColumns}
	for _, d := range devices {
		row := []string{string(d.ID), d.Name, d.Make, d.Model, d.Serial, string(d.Attachment), d.Address, string(d.State), string(d.Reason), cellTime(d.Since),
			string(d.MonitoringMode), d.Market, d.Home, d.Firmware, d.Location, cellTime(d.LastSeen)}
		for i, cell := range row {
			row[i] = noFormula(cell)
		}
		rows = append(rows, row)
	}
	return w.WriteAll(rows)
}

func cellTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// noFormula follows OWASP's advice on CSV injection: what starts with one of these is run, also in its full-width form.
func noFormula(cell string) string {
	if strings.IndexAny(cell, "=+-@\t\r\n＝＋－＠") == 0 {
		return "'" + cell
	}
	return cell
}
