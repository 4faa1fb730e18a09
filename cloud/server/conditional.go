package server

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// changeGuard applies RFC 9110 §13.1 to a change of a resource whose entity tag is current, "" if it is not there yet.
// A change without a condition is 428 (RFC 6585): it could overwrite what its sender has not seen.
func changeGuard(ifMatch, ifNoneMatch, current string) *problem {
	if ifMatch == "" && ifNoneMatch == "" {
		return refuse(http.StatusPreconditionRequired, ReasonNoPrecondition,
			"send If-Match with the entity tag that you have read, or If-None-Match: * to create")
	}
	if ifMatch != "" && !matches(ifMatch, current, false) {
		return stale(current)
	}
	if ifNoneMatch != "" && matches(ifNoneMatch, current, true) {
		return stale(current)
	}
	return nil
}

// existingGuard is changeGuard of a change that creates nothing.
func existingGuard(ifMatch, current string) *problem {
	if ifMatch == "" {
		return refuse(http.StatusPreconditionRequired, ReasonNoPrecondition, "send If-Match with the entity tag that you have read")
	}
	return changeGuard(ifMatch, "", current)
}

func stale(current string) *problem {
	if current == "" {
		return refuse(http.StatusPreconditionFailed, ReasonPrecondition, "there is nothing yet; create it with If-None-Match: *")
	}
	return refuse(http.StatusPreconditionFailed, ReasonPrecondition, "it has changed or exists; read it again").with("ETag", current)
}

// matches compares a list of entity tags with current. If-Match compares strongly: a weak tag never matches (§13.1.1).
func matches(header, current string, weak bool) bool {
	for tag := range strings.SplitSeq(header, ",") { // our tags have no comma
		tag = strings.TrimSpace(tag)
		if tag == "*" && current != "" {
			return true
		}
		if weak {
			tag = strings.TrimPrefix(tag, "W/")
		}
		if tag == current && current != "" {
			return true
		}
	}
	return false
}

func versionTag(version int64) string { return fmt.Sprintf(`"%d"`, version) }

// contentTag is for what has no version of its own: lists.
func contentTag(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return `"` + hex.EncodeToString(sum[:12]) + `"`, nil
}

// Conditional is the condition of a GET. It is exported, as are the other parts of inputs, because huma fills in no
// unexported one.
type Conditional struct {
	IfNoneMatch string `header:"If-None-Match" maxLength:"4096"`
}

// read is the answer to a GET: the document with its tag, or 304.
type read[T any] struct {
	Status int
	ETag   string `header:"ETag"`
	Body   T
}

func (c Conditional) answer(tag string) int {
	if c.IfNoneMatch != "" && matches(c.IfNoneMatch, tag, true) {
		return http.StatusNotModified
	}
	return http.StatusOK
}

func listAnswer[T any](c Conditional, body T) (*read[T], error) {
	tag, err := contentTag(body)
	if err != nil {
		return nil, internal(err)
	}
	return &read[T]{Status: c.answer(tag), ETag: tag, Body: body}, nil
}

// Paging is the part of a list's query that all lists share.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
	Cursor string `query:"cursor" maxLength:"256" doc:"nextCursor of the page before; opaque"`
}

// after is the last key of the page before.
func (p Paging) after() (string, error) {
	key, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	if err != nil {
		return "", refuse(http.StatusBadRequest, ReasonCursor, "the cursor is not one of this list's; start again without one")
	}
	return string(key), nil
}

func cursor(key string) string { return base64.RawURLEncoding.EncodeToString([]byte(key)) }
