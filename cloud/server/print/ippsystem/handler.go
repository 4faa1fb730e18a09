package ippsystem

import "net/http"

// MaxRequest is how many bytes of a request are read.
const MaxRequest = 64 << 10

// Path is where clients look for a system service (PWG 5100.22 §4.2).
const Path = "/ipp/system"

// Handler answers IPP requests at any path; mount it at Path.
func Handler(s Service) http.Handler {
	return http.NotFoundHandler()
}
