package ippsystem

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/print/exchange"
	"github.com/mfpgate/mfpgate/protocol/ipp"
)

// MaxAnswer is how many bytes of an answer are read.
const MaxAnswer = 256 << 10

// userName is the requesting-user-name: what asks is the gateway, whoever asked it.
const userName = "mfpgate"

// begin makes a request (RFC 8011 §4.1): charset, then language, then the target, in this order.
func (s *Service) begin(op goipp.Op) *goipp.Message {
	m := goipp.NewRequest(goipp.MakeVersion(2, 0), op, s.ids.Add(1)&0x7fffffff)
	m.Operation.Add(goipp.MakeAttribute("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	m.Operation.Add(goipp.MakeAttribute("attributes-natural-language", goipp.TagLanguage, goipp.String("en")))
	m.Operation.Add(goipp.MakeAttribute("system-uri", goipp.TagURI, goipp.String(s.uri)))
	m.Operation.Add(goipp.MakeAttribute("requesting-user-name", goipp.TagName, goipp.String(userName)))
	return m
}

// describe is Get-System-Attributes, without a token: whoever names the authorization server cannot want one.
func (s *Service) describe(ctx context.Context) (system, error) {
	m := s.begin(goipp.OpGetSystemAttributes)
	requested := goipp.Attribute{Name: "requested-attributes"}
	for _, name := range wanted() {
		requested.Values.Add(goipp.TagKeyword, goipp.String(name))
	}
	m.Operation.Add(requested)
	a, err := s.post(ctx, "", m)
	if err != nil {
		return system{}, err
	}
	return parseSystem(a)
}

// register is Register-Output-Device.
func (s *Service) register(ctx context.Context, token mfpgate.Secret, system system, d mfpgate.PrintDevice) (mfpgate.Printer, error) {
	m := s.begin(goipp.OpRegisterOutputDevice)
	m.Operation.Add(goipp.MakeAttribute("output-device-uuid", goipp.TagURI, goipp.String("urn:uuid:"+ipp.UUID("urn:uuid:"+d.UUID))))
	m.Operation.Add(goipp.MakeAttribute("printer-service-type", goipp.TagKeyword, goipp.String("print")))
	all := described(d)
	for _, name := range slices.Compact(slices.Sorted(slices.Values(system.mandatory))) {
		if a, ok := all[name]; ok {
			m.Printer.Add(a)
		}
	}
	a, err := s.post(ctx, token, m)
	if err != nil {
		return mfpgate.Printer{}, err
	}
	return s.parsePrinter(a)
}

// post makes one exchange. The message that it returns has a status of success.
func (s *Service) post(ctx context.Context, token mfpgate.Secret, m *goipp.Message) (*goipp.Message, error) {
	body, err := m.EncodeBytes()
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.http.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", goipp.ContentType)
	req.Header.Set("Accept", goipp.ContentType)
	req.Header.Set("User-Agent", "mfpgate")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	res, err := s.doer.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	said := exchange.Answer{Status: res.StatusCode, Header: res.Header, Now: s.o.Clock.Now()}
	if media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); media != goipp.ContentType {
		return nil, noMessage(said, token, media)
	}
	var answered bytes.Buffer
	if _, err := answered.ReadFrom(io.LimitReader(res.Body, MaxAnswer+1)); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if answered.Len() > MaxAnswer {
		return nil, fmt.Errorf("%w: longer than %d bytes", errAnswer, MaxAnswer)
	}
	a, err := read(answered.Bytes(), m.RequestID)
	switch {
	case err != nil && res.StatusCode == http.StatusOK:
		return nil, err
	case err != nil:
		return nil, noMessage(said, token, goipp.ContentType)
	}
	if err := refusal(a, said, token); err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, noMessage(said, token, goipp.ContentType)
	}
	return a, nil
}

// read decodes an answer to the request of this id.
func read(body []byte, id uint32) (*goipp.Message, error) {
	a, err := ipp.Decode(body, ipp.System)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAnswer, err)
	}
	if a.RequestID != id {
		return nil, fmt.Errorf("%w: it is for the request %d, not %d", errAnswer, a.RequestID, id)
	}
	return a, nil
}

// noMessage is the error of an HTTP answer without an IPP message. Only a demand for a login speaks for the system itself; any other
// page may be that of something on the way.
func noMessage(said exchange.Answer, token mfpgate.Secret, media string) error {
	switch {
	case said.Status == http.StatusUnauthorized:
		return said.Refuse(unauthenticated(token), "", "")
	case said.Status == http.StatusOK:
		return fmt.Errorf("%w: %.64q", errAnswer, media)
	}
	return said.Refuse(errAnswer, "", "")
}

// unauthenticated is what a demand for a login means: a token that is not good (any more), or that anybody may not.
func unauthenticated(token mfpgate.Secret) error {
	if token != "" {
		return mfpgate.ErrInvalidGrant
	}
	return errNoLogin
}

var errNoLogin = fmt.Errorf("%w: the system wants a login that it did not name", mfpgate.ErrRefused)

// refusal is the error of an IPP status, nil for a success (RFC 8011 §B.1.2: all below 0x0100).
func refusal(a *goipp.Message, said exchange.Answer, token mfpgate.Secret) error {
	status := goipp.Status(a.Code)
	if status < 0x0100 {
		return nil
	}
	means := mfpgate.ErrRefused
	switch status {
	case goipp.StatusErrorNotAuthenticated:
		means = unauthenticated(token)
	case goipp.StatusErrorTimeout, goipp.StatusErrorInternal, goipp.StatusErrorServiceUnavailable, goipp.StatusErrorDevice,
		goipp.StatusErrorTemporary, goipp.StatusErrorNotAcceptingJobs, goipp.StatusErrorBusy, goipp.StatusErrorPrinterIsDeactivated:
		means = nil // worth another try
	}
	return said.Refuse(means, status.String(), ipp.Text(a.Operation, "status-message", ipp.Words()...), token)
}
