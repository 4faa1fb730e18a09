package hawkbit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxAnswer = 8 << 20 // bytes; a page of 500 actions in full is below 1 MiB
	pageSize  = 500     // hawkBit gives no more
	maxReads  = 3       // of a list that changes while it is read
)

// Error is a refusal by hawkBit, or by something before it.
type Error struct {
	Status     int
	Code       string        // hawkBit's errorCode
	Message    string        // for people; clipped
	RetryAfter time.Duration // 0: none was named
}

// Error says what hawkBit said.
func (e *Error) Error() string {
	text := fmt.Sprintf("hawkBit answered %d %s", e.Status, http.StatusText(e.Status))
	for _, s := range []string{e.Code, e.Message} {
		if s != "" {
			text += ": " + s
		}
	}
	return text
}

// Delay is the earliest time for another try that hawkBit named.
func (e *Error) Delay() time.Duration { return e.RetryAfter }

// final reports whether the same call would be refused again.
func (e *Error) final() bool {
	switch e.Status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusGone, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// call makes one call. path is of escaped segments.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	u := c.base.Scheme + "://" + c.base.Host + "/rest/v1/" + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, body)
	if err != nil {
		return err
	}
	req.SetBasicAuth(c.o.User, c.o.Password.Reveal())
	req.Header.Set("Accept", "application/hal+json, application/json")
	req.Header.Set("User-Agent", "mfpgate")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return err
	case len(text) > maxAnswer:
		return fmt.Errorf("%w: longer than %d bytes", ErrAnswer, maxAnswer)
	case res.StatusCode >= 400:
		return refusal(res, text, c.o.Clock.Now())
	case res.StatusCode >= 300 || res.StatusCode < 200:
		return fmt.Errorf("%w: status %d", ErrAnswer, res.StatusCode)
	case out == nil || res.StatusCode == http.StatusNoContent:
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%w: %v", ErrAnswer, err)
	}
	return nil
}

func refusal(res *http.Response, text []byte, now time.Time) error {
	var said struct {
		Code    string `json:"errorCode"`
		Message string `json:"message"`
	}
	_ = json.Unmarshal(text, &said) // a proxy's page says nothing
	return &Error{Status: res.StatusCode, Code: clip(said.Code), Message: clip(said.Message), RetryAfter: retryAfter(res.Header, now)}
}

// retryAfter reads RFC 9110 §10.2.3, at most one hour.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text, wait := strings.TrimSpace(h.Get("Retry-After")), time.Duration(0)
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		wait = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), time.Hour)
}

// clip makes foreign text fit to be shown: valid, in one line, and short.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), 200)], ""))
	return s
}

type page[T any] struct {
	Content []T   `json:"content"`
	Total   int64 `json:"total"`
	Size    int   `json:"size"`
}

// list reads all pages of a list. Each page begins with the last item of the one before: if that has moved, an item has gone
// while the list was read, another may have been jumped over, and it is read anew.
func list[T any](ctx context.Context, c *Client, path string, query url.Values, bound int, key func(T) (string, error)) ([]T, error) {
	for range maxReads {
		var all []T
		last, moved := "", false
		for !moved {
			var p page[T]
			offset := max(0, len(all)-1)
			query.Set("offset", strconv.Itoa(offset))
			query.Set("limit", strconv.Itoa(pageSize))
			if err := c.call(ctx, http.MethodGet, path, query, nil, &p); err != nil {
				return nil, err
			}
			if len(p.Content) > pageSize || p.Total < 0 {
				return nil, fmt.Errorf("%w: a page of %d items, in all %d", ErrAnswer, len(p.Content), p.Total)
			}
			items := p.Content
			if last != "" {
				if len(items) == 0 {
					moved = true
					break
				}
				first, err := key(items[0])
				if err != nil {
					return nil, err
				}
				if first != last {
					moved = true
					break
				}
				items = items[1:]
			}
			if all = append(all, items...); len(all) > bound {
				return nil, fmt.Errorf("%s: more than %d", path, bound)
			}
			if int64(len(all)) >= p.Total {
				return unique(all, key)
			}
			if len(items) == 0 {
				break // there is more by its own word
			}
			var err error
			if last, err = key(all[len(all)-1]); err != nil {
				return nil, err
			}
		}
	}
	return nil, fmt.Errorf("%s: it changed %d times while it was read", path, maxReads)
}

func unique[T any](all []T, key func(T) (string, error)) ([]T, error) {
	seen := make(map[string]bool, len(all))
	for _, v := range all {
		k, err := key(v)
		if err != nil {
			return nil, err
		}
		if seen[k] {
			return nil, fmt.Errorf("%w: %.70q is there twice", ErrAnswer, k)
		}
		seen[k] = true
	}
	return all, nil
}
