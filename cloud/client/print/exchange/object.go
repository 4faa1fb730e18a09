package exchange

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// maxDepth is how deep an answer may be nested.
const maxDepth = 16

// Object is a JSON object by the exact names of its members, which encoding/json would match in any case.
type Object map[string]json.RawMessage

// ParseObject reads one JSON object. A name given twice, in it or in what it holds, is refused: two readers of such an answer
// would not read the same. The error wraps ErrAnswer.
func ParseObject(data []byte) (Object, error) {
	in := json.NewDecoder(bytes.NewReader(data))
	in.UseNumber()
	if err := walk(in, 0); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: goes on after its end", ErrAnswer)
	}
	var out Object
	if err := json.Unmarshal(data, &out); err != nil || out == nil {
		return nil, fmt.Errorf("%w: no JSON object", ErrAnswer)
	}
	return out, nil
}

// walk reads one value and tells of a name that is given twice.
func walk(in *json.Decoder, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	token, err := in.Token()
	if err != nil {
		return errors.New("broken JSON") // the decoder's own words may quote the answer
	}
	open, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for in.More() {
		if open == '{' {
			name, err := in.Token()
			if err != nil {
				return errors.New("broken JSON")
			}
			text, _ := name.(string)
			if seen[text] {
				return fmt.Errorf("%q is given twice", clip(text))
			}
			seen[text] = true
		}
		if err := walk(in, depth+1); err != nil {
			return err
		}
	}
	if _, err := in.Token(); err != nil {
		return errors.New("broken JSON")
	}
	return nil
}

func (o Object) has(name string) bool {
	raw, ok := o[name]
	return ok && string(raw) != "null"
}

// Text is a string of at most limit bytes; "" if it is not there.
func (o Object) Text(name string, limit int) (string, error) {
	if !o.has(name) {
		return "", nil
	}
	var out string
	if err := json.Unmarshal(o[name], &out); err != nil {
		return "", fmt.Errorf("%w: %s is no text", ErrAnswer, name)
	}
	if len(out) > limit {
		return "", fmt.Errorf("%w: %s is longer than %d bytes", ErrAnswer, name, limit)
	}
	return out, nil
}

// Visible is a Text of visible ASCII characters (VSCHAR of RFC 6749 appendix A, without the space): what may stand in a header.
func (o Object) Visible(name string, limit int) (string, error) {
	out, err := o.Text(name, limit)
	if err != nil {
		return "", err
	}
	if strings.ContainsFunc(out, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%w: %s has characters that it may not have", ErrAnswer, name)
	}
	return out, nil
}

// Base64 is bytes in standard base64, with or without line breaks; nil if they are not there.
func (o Object) Base64(name string) ([]byte, error) {
	text, err := o.Text(name, MaxAnswer)
	if err != nil || text == "" {
		return nil, err
	}
	out, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s is no base64", ErrAnswer, name)
	}
	return out, nil
}

// Seconds is a number of seconds, rounded up and cut at limit; 0 if it is not there or below zero. A text with digits is read as
// a number, for some authorization servers write it so.
func (o Object) Seconds(name string, limit time.Duration) (time.Duration, error) {
	if !o.has(name) {
		return 0, nil
	}
	text := strings.Trim(string(o[name]), `"`)
	seconds, err := strconv.ParseFloat(text, 64)
	if errors.Is(err, strconv.ErrRange) {
		err = nil // out of range is infinite, with its sign
	}
	if err != nil || math.IsNaN(seconds) || strings.ContainsAny(text, "xXpP_iI") {
		return 0, fmt.Errorf("%w: %s is no number of seconds", ErrAnswer, name)
	}
	switch {
	case seconds <= 0:
		return 0, nil
	case seconds >= limit.Seconds():
		return limit, nil
	}
	return time.Duration(math.Ceil(seconds)) * time.Second, nil
}

// Texts is a list of strings; nil if it is not there.
func (o Object) Texts(name string) ([]string, error) {
	if !o.has(name) {
		return nil, nil
	}
	var out []string
	if err := json.Unmarshal(o[name], &out); err != nil {
		return nil, fmt.Errorf("%w: %s is no list of texts", ErrAnswer, name)
	}
	return out, nil
}
