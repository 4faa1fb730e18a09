package ippsystem

import (
	"context"
	"strings"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate/protocol/ipp"
)

// serviceType is the kind of printer that the system makes.
const serviceType = "print"

// registerOutputDevice is PWG 5100.22's Register-Output-Device. A client of the standard sends no printer attributes; one that does
// describes the device with them.
func registerOutputDevice(s Service, ctx context.Context, q *request) *goipp.Message {
	group := q.message.Operation
	uuid, refusal := q.outputDevice()
	if refusal != nil {
		return refusal
	}
	types, ok := ipp.Find(group, "printer-service-type")
	if !ok {
		return q.refuse(goipp.StatusErrorBadRequest, "the operation needs printer-service-type")
	}
	var other goipp.Values
	for _, v := range types.Values {
		if v.T != goipp.TagKeyword || v.V.String() != serviceType {
			other.Add(v.T, v.V)
		}
	}
	switch {
	case len(other) == len(types.Values):
		return q.refuseValue(types, "printer-service-type is "+serviceType)
	case len(other) > 0:
		q.ignored.Add(goipp.Attribute{Name: types.Name, Values: other})
	}
	device := OutputDevice{
		UUID:         uuid,
		User:         ipp.Text(group, "requesting-user-name", ipp.Words()...),
		Name:         ipp.Text(q.message.Printer, "printer-info", ipp.Words()...),
		MakeAndModel: ipp.Text(q.message.Printer, "printer-make-and-model", ipp.Words()...),
		Serial:       ipp.Text(q.message.Printer, "printer-serial-number", ipp.Words()...),
		Location:     ipp.Text(q.message.Printer, "printer-location", ipp.Words()...),
	}
	if device.Name == "" {
		device.Name = ipp.Text(q.message.Printer, "printer-name", ipp.Words()...)
	}
	p, err := s.Register(ctx, q.token, device)
	if err != nil {
		return q.failed(err)
	}
	a := q.done()
	a.Printer.Add(goipp.MakeAttribute("printer-id", goipp.TagInteger, goipp.Integer(p.Number)))
	a.Printer.Add(goipp.MakeAttribute("printer-uuid", goipp.TagURI, goipp.String("urn:uuid:"+p.UUID)))
	a.Printer.Add(goipp.MakeAttribute("printer-xri-supported", goipp.TagBeginCollection, q.xri(p.URI)))
	// Until the device itself tells more (PWG 5100.18 §5.10), its printer is stopped and takes no jobs.
	a.Printer.Add(goipp.MakeAttribute("printer-is-accepting-jobs", goipp.TagBoolean, goipp.Boolean(false)))
	a.Printer.Add(goipp.MakeAttribute("printer-state", goipp.TagEnum, goipp.Integer(printerStopped)))
	a.Printer.Add(goipp.MakeAttribute("printer-state-reasons", goipp.TagKeyword, goipp.String("paused")))
	return a
}

const printerStopped = 5 // RFC 8011 §5.4.11

// deregisterOutputDevice is PWG 5100.18 §5.4.
func deregisterOutputDevice(s Service, ctx context.Context, q *request) *goipp.Message {
	uuid, refusal := q.outputDevice()
	if refusal != nil {
		return refusal
	}
	if err := s.Deregister(ctx, q.token, uuid); err != nil {
		return q.failed(err)
	}
	return q.done()
}

// outputDevice is the UUID of the device, or the refusal.
func (q *request) outputDevice() (string, *goipp.Message) {
	a, ok := ipp.Find(q.message.Operation, "output-device-uuid")
	if !ok {
		return "", q.refuse(goipp.StatusErrorBadRequest, "the operation needs output-device-uuid")
	}
	uuid := ipp.UUID(ipp.Text(q.message.Operation, a.Name, goipp.TagURI))
	if uuid == "" {
		return "", q.refuseValue(a, "output-device-uuid is a urn:uuid: URI")
	}
	return uuid, nil
}

// xri says how a URI is reached (PWG 5100.22 §7.1).
func (q *request) xri(uri string) goipp.Collection {
	security, authentication := "none", "none"
	if scheme, _, _ := strings.Cut(uri, ":"); scheme == "ipps" || scheme == "https" {
		security = "tls"
	}
	if q.system.Issuer != "" {
		authentication = "oauth"
	}
	var c goipp.Collection
	c.Add(goipp.MakeAttribute("xri-authentication", goipp.TagKeyword, goipp.String(authentication)))
	c.Add(goipp.MakeAttribute("xri-security", goipp.TagKeyword, goipp.String(security)))
	c.Add(goipp.MakeAttribute("xri-uri", goipp.TagURI, goipp.String(uri)))
	return c
}
