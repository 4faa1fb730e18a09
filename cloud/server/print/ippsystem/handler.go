package ippsystem

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/protocol/ipp"
)

// MaxRequest is how many bytes of a request are read. The operations here bring no document.
const MaxRequest = 64 << 10

// Path is where clients look for a system service (PWG 5100.22 §4.2).
const Path = "/ipp/system"

// maxToken bounds a bearer token, in bytes.
const maxToken = 4 << 10

// Handler answers IPP requests at any path; mount it at Path.
func Handler(s Service) http.Handler { return handler{s} }

type handler struct{ service Service }

// ServeHTTP is the HTTP part (RFC 8010 §4).
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "IPP is POST", http.StatusMethodNotAllowed)
		return
	case media != goipp.ContentType:
		http.Error(w, "IPP is "+goipp.ContentType, http.StatusUnsupportedMediaType)
		return
	}
	var body bytes.Buffer
	if _, err := body.ReadFrom(io.LimitReader(r.Body, MaxRequest+1)); err != nil {
		http.Error(w, "the request does not end", http.StatusBadRequest)
		return
	}
	if body.Len() > MaxRequest {
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 4*MaxRequest)) // who is cut off while it sends may not see the answer
		http.Error(w, fmt.Sprintf("a request has at most %d bytes", MaxRequest), http.StatusRequestEntityTooLarge)
		return
	}
	q := request{token: bearer(r.Header), system: h.service.System()}
	answer, ok := h.answer(r, &q, body.Bytes())
	if !ok {
		http.Error(w, "not an IPP message", http.StatusBadRequest)
		return
	}
	answer.Groups = inOrder(answer)
	data, err := answer.EncodeBytes()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", goipp.ContentType)
	w.Header().Set("Cache-Control", "no-store")
	if goipp.Status(answer.Code) == goipp.StatusErrorNotAuthenticated {
		w.Header().Set("WWW-Authenticate", q.challenge())
		w.WriteHeader(http.StatusUnauthorized)
	}
	_, _ = w.Write(data) // who asked has gone
}

// inOrder are an answer's groups as RFC 8011 §4.1.4 wants them, with what is not supported before the object. goipp's own order differs.
func inOrder(a *goipp.Message) goipp.Groups {
	groups := goipp.Groups{{Tag: goipp.TagOperationGroup, Attrs: a.Operation}}
	for _, g := range []goipp.Group{{Tag: goipp.TagUnsupportedGroup, Attrs: a.Unsupported}, {Tag: goipp.TagPrinterGroup, Attrs: a.Printer},
		{Tag: goipp.TagSystemGroup, Attrs: a.System}} {
		if len(g.Attrs) > 0 {
			groups.Add(g)
		}
	}
	return groups
}

// bearer is the token of a request (RFC 6750 §2.1), or "". One that is none by its syntax is the same as none.
func bearer(header http.Header) mfpgate.Secret {
	scheme, token, _ := strings.Cut(header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || len(token) > maxToken {
		return ""
	}
	token = strings.TrimLeft(token, " ")
	for i := range len(token) {
		if c := token[i]; !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~+/=", c) >= 0) {
			return ""
		}
	}
	return mfpgate.Secret(token)
}

// challenge says which token is wanted (RFC 6750 §3).
func (q *request) challenge() string {
	var b strings.Builder
	b.WriteString(`Bearer realm="print"`)
	if q.system.Scope != "" {
		fmt.Fprintf(&b, ", scope=%q", q.system.Scope)
	}
	if q.token != "" {
		b.WriteString(`, error="invalid_token"`)
	}
	return b.String()
}

// answer is the IPP part. False if the bytes do not even have the header that an answer needs.
func (h handler) answer(r *http.Request, q *request, body []byte) (*goipp.Message, bool) {
	version, code, id, ok := ipp.Header(body)
	if !ok {
		return nil, false
	}
	q.version, q.id = version, id
	switch {
	case version.Major() == 1 && version.Minor() < 1:
		q.version = goipp.MakeVersion(1, 1)
		return q.refuse(goipp.StatusErrorVersionNotSupported, "ask with IPP 2.0 or 1.1"), true
	case version.Major() < 1 || version.Major() > 2:
		q.version = goipp.MakeVersion(2, 0)
		return q.refuse(goipp.StatusErrorVersionNotSupported, "ask with IPP 2.0 or 1.1"), true
	}
	m, err := ipp.Decode(body, ipp.System)
	if err != nil {
		return q.refuse(goipp.StatusErrorBadRequest, err.Error()), true
	}
	operation, known := operations()[goipp.Op(code)]
	if !known {
		return q.refuse(goipp.StatusErrorOperationNotSupported, "this system does not have the operation"), true
	}
	q.message = m
	if refusal := q.check(operation); refusal != nil {
		return refusal, true
	}
	if operation.token && q.system.Issuer != "" && q.token == "" {
		return q.refuse(goipp.StatusErrorNotAuthenticated, "a token is needed: ask the authorization server of this system for one"), true
	}
	if q.system.Issuer == "" {
		q.token = ""
	}
	return operation.do(h.service, r.Context(), q), true
}
