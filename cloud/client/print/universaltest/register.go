package universaltest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	tokenLife       = 3599 * time.Second
	certificateLife = 365 * 24 * time.Hour
	maxBody         = 64 << 10
)

type registration struct {
	token   string
	polls   int // that still get 202
	printer *Printer
}

// Printer is what the service has of one.
type Printer struct {
	ID           string // cloud_device_id
	DeviceID     string
	Name         string
	Manufacturer string
	Model        string
	Key          crypto.PublicKey
	Certificate  []byte // in DER, the last one
}

func (s *Service) bearer(w http.ResponseWriter, r *http.Request) (string, bool) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	defer s.mu.Unlock()
	until, known := s.tokens[token]
	if !ok || !known || !s.o.Clock.Now().Before(until) {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
		return "", false
	}
	return token, true
}

type request struct {
	Name               string   `json:"name"`
	Manufacturer       string   `json:"manufacturer"`
	Model              string   `json:"model"`
	DeviceID           string   `json:"device_id"`
	DeviceType         string   `json:"device_type"`
	DeviceCapabilities []string `json:"device_capabilities"`
	PreferredLang      string   `json:"preferred_lang"`
	HasPhysicalDevice  bool     `json:"has_physical_device"`
	CertificateRequest struct {
		Type         string `json:"type"`
		Data         []byte `json:"data"`
		TransportKey []byte `json:"transport_key"`
	} `json:"certificate_request"`
}

func (s *Service) register(w http.ResponseWriter, r *http.Request) {
	token, ok := s.bearer(w, r)
	if !ok {
		return
	}
	var q request
	in := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	in.DisallowUnknownFields()
	if err := in.Decode(&q); err != nil || r.Header.Get("Content-Type") != "application/json" {
		restError(w, http.StatusBadRequest, "BadRequest", "the body cannot be read")
		return
	}
	key, err := q.check()
	if err != nil {
		restError(w, http.StatusBadRequest, "InvalidCertificateRequest", err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.printers, func(p *Printer) bool { return p.DeviceID == q.DeviceID })
	if i < 0 {
		s.printers = append(s.printers, &Printer{ID: strings.ToLower(rand.Text()), DeviceID: q.DeviceID})
		i = len(s.printers) - 1
	}
	p := s.printers[i]
	p.Name, p.Manufacturer, p.Model, p.Key = q.Name, q.Manufacturer, q.Model, key
	if p.Certificate, err = s.certify(p.ID, key); err != nil {
		restError(w, http.StatusInternalServerError, "InternalError", err.Error())
		return
	}
	id := strings.ToLower(rand.Text())
	s.registrations[id] = &registration{token: token, polls: s.o.Polls, printer: p}
	answer(w, http.StatusAccepted, map[string]any{"registration_id": id, "interval": int(s.o.Interval.Seconds())})
}

func (q request) check() (*rsa.PublicKey, error) {
	switch {
	case q.Name == "" || q.Manufacturer == "" || q.Model == "" || q.DeviceID == "":
		return nil, errors.New("name, manufacturer, model and device_id are required")
	case q.DeviceType != "printer":
		return nil, errors.New("device_type must be printer")
	case q.CertificateRequest.Type != "pkcs10":
		return nil, errors.New("certificate_request.type must be pkcs10")
	}
	csr, err := x509.ParseCertificateRequest(q.CertificateRequest.Data)
	if err != nil {
		return nil, errors.New("certificate_request.data is no PKCS #10 request")
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, errors.New("certificate_request.data is not signed with its key")
	}
	key, ok := csr.PublicKey.(*rsa.PublicKey)
	if !ok || key.N.BitLen() != 2048 || csr.SignatureAlgorithm != x509.SHA256WithRSA {
		return nil, errors.New("certificate_request.data must be of RSA-2048 with SHA-256")
	}
	transport, err := x509.ParsePKCS1PublicKey(q.CertificateRequest.TransportKey)
	if err != nil || !transport.Equal(key) {
		return nil, errors.New("certificate_request.transport_key is not the key of the request")
	}
	return key, nil
}

func (s *Service) certify(id string, key *rsa.PublicKey) ([]byte, error) {
	now := s.o.Clock.Now()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	return x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: id}, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, s.issuer, key, s.key)
}

func (s *Service) registered(w http.ResponseWriter, r *http.Request) {
	token, ok := s.bearer(w, r)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q, ok := s.registrations[r.URL.Query().Get("registration_id")]
	if !ok || q.token != token {
		restError(w, http.StatusNotFound, "NotFound", "the registration was not found")
		return
	}
	if q.polls > 0 {
		q.polls--
		answer(w, http.StatusAccepted, map[string]any{"interval": int(s.o.Interval.Seconds())})
		return
	}
	certificate := base64.StdEncoding.EncodeToString(q.printer.Certificate)
	if s.o.PEM {
		certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: q.printer.Certificate}))
	}
	answer(w, http.StatusOK, map[string]any{
		"cloud_device_id": q.printer.ID, "certificate": certificate, "device_token_url": s.URL + "/organizations/oauth2/token",
		"printer_client_id": "00000000-0000-0000-0000-000000000001", "printer_redirect_uri": "https://printer.example/", "mcp_svc_resource_id": s.URL,
	})
}

func restError(w http.ResponseWriter, status int, word, text string) {
	answer(w, status, map[string]any{"error": map[string]any{"code": word, "message": text}})
}
