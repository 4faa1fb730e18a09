package ippsystem

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/protocol/ipp"
)

// operation is what the system does.
type operation struct {
	targets []string // the attributes of which one must name the target
	knows   []string // its other operation attributes
	token   bool
	do      func(Service, context.Context, *request) *goipp.Message
}

func operations() map[goipp.Op]operation {
	return map[goipp.Op]operation{
		goipp.OpGetSystemAttributes: {
			targets: []string{"system-uri"},
			knows:   []string{"requesting-user-name", "requested-attributes"},
			do:      getSystemAttributes,
		},
		goipp.OpRegisterOutputDevice: {
			targets: []string{"system-uri"},
			knows:   []string{"requesting-user-name", "output-device-uuid", "printer-service-type"},
			token:   true,
			do:      registerOutputDevice,
		},
		// PWG 5100.18 §5.4 has it at a printer, PWG 5100.22 at the system, too.
		goipp.OpDeregisterOutputDevice: {
			targets: []string{"system-uri", "printer-uri"},
			knows:   []string{"requesting-user-name", "output-device-uuid"},
			token:   true,
			do:      deregisterOutputDevice,
		},
	}
}

// request is one exchange.
type request struct {
	version goipp.Version // of the answer
	id      uint32
	token   mfpgate.Secret
	system  System
	message *goipp.Message
	// ignored are attributes or values that were not understood; the answer names them.
	ignored goipp.Attributes
}

// answer begins an answer (RFC 8011 §4.1.4).
func (q *request) answer(status goipp.Status) *goipp.Message {
	a := goipp.NewResponse(q.version, status, q.id)
	a.Operation.Add(goipp.MakeAttribute("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	a.Operation.Add(goipp.MakeAttribute("attributes-natural-language", goipp.TagLanguage, goipp.String("en")))
	return a
}

// done is the answer of what was done, although something of the request may have been ignored.
func (q *request) done() *goipp.Message {
	if len(q.ignored) == 0 {
		return q.answer(goipp.StatusOk)
	}
	a := q.answer(goipp.StatusOkIgnoredOrSubstituted)
	a.Unsupported = q.ignored
	return a
}

// refuse is the answer of what was not done; message is for people.
func (q *request) refuse(status goipp.Status, message string) *goipp.Message {
	a := q.answer(status)
	a.Operation.Add(goipp.MakeAttribute("status-message", goipp.TagText, goipp.String(mfpgate.CleanText(message, ipp.MaxText))))
	return a
}

// refuseValue refuses an attribute's value, with the value (RFC 8011 §4.1.7).
func (q *request) refuseValue(a goipp.Attribute, message string) *goipp.Message {
	refusal := q.refuse(goipp.StatusErrorAttributesOrValues, message)
	refusal.Unsupported = goipp.Attributes{a}
	return refusal
}

// failed is the answer to an error of the Service.
func (q *request) failed(err error) *goipp.Message {
	switch {
	case errors.Is(err, ErrToken):
		return q.refuse(goipp.StatusErrorNotAuthenticated, "the token is not good: ask the authorization server of this system for a new one")
	case errors.Is(err, ErrNotAllowed):
		return q.refuse(goipp.StatusErrorNotAuthorized, "the token is not for this device or operation")
	case errors.Is(err, ErrNoDevice):
		return q.refuse(goipp.StatusErrorNotFound, "no such output device is registered")
	case errors.Is(err, ErrBusy):
		return q.refuse(goipp.StatusErrorBusy, "ask again later")
	}
	return q.refuse(goipp.StatusErrorInternal, "the system has failed to do it; ask again later")
}

// check looks at what all operations have (RFC 8011 §4.1.1 to §4.1.5). It returns nil if all is well.
func (q *request) check(o operation) *goipp.Message {
	m := q.message
	bad := func(message string) *goipp.Message { return q.refuse(goipp.StatusErrorBadRequest, message) }
	if q.id == 0 || q.id > 1<<31-1 {
		return bad("the request id is no positive integer")
	}
	if len(m.Groups) == 0 || m.Groups[0].Tag != goipp.TagOperationGroup || len(m.Groups[0].Attrs) < 2 {
		return bad("the first group must be the operation attributes")
	}
	for _, g := range m.Groups[1:] {
		if g.Tag == goipp.TagOperationGroup {
			return bad("the operation attributes are there twice")
		}
	}
	group := m.Groups[0].Attrs
	if group[0].Name != "attributes-charset" || group[1].Name != "attributes-natural-language" {
		return bad("attributes-charset and attributes-natural-language must be the first attributes")
	}
	charset := ipp.Text(group, "attributes-charset", goipp.TagCharset)
	if charset == "" || ipp.Text(group, "attributes-natural-language", goipp.TagLanguage) == "" {
		return bad("attributes-charset and attributes-natural-language have one value each, of their own syntax")
	}
	if !strings.EqualFold(charset, "utf-8") {
		return q.refuse(goipp.StatusErrorCharset, "the charset is utf-8")
	}
	seen := map[string]bool{}
	for _, a := range group {
		if seen[a.Name] {
			return bad("an attribute is there twice: " + a.Name)
		}
		seen[a.Name] = true
	}
	if refusal := q.checkTarget(group, o.targets); refusal != nil {
		return refusal
	}
	for _, a := range group[2:] {
		if !slices.Contains(o.targets, a.Name) && !slices.Contains(o.knows, a.Name) {
			q.ignored.Add(goipp.MakeAttribute(a.Name, goipp.TagUnsupportedValue, goipp.Void{}))
		}
	}
	return nil
}

// checkTarget wants the target to be this system, or something at it. Its host is not compared: a client may know another name of it.
func (q *request) checkTarget(group goipp.Attributes, targets []string) *goipp.Message {
	for _, name := range targets {
		a, ok := ipp.Find(group, name)
		if !ok {
			continue
		}
		target, err := url.Parse(ipp.Text(group, name, goipp.TagURI))
		switch {
		case err != nil || target.Host == "":
			return q.refuse(goipp.StatusErrorBadRequest, name+" is no URI with a host")
		case !slices.Contains([]string{"ipp", "ipps", "http", "https"}, target.Scheme):
			refusal := q.refuse(goipp.StatusErrorURIScheme, name+" is ipps or ipp")
			refusal.Unsupported = goipp.Attributes{a}
			return refusal
		}
		if own, err := url.Parse(q.system.URI); name == "system-uri" && err == nil && target.Path != own.Path {
			return q.refuse(goipp.StatusErrorNotFound, "the system is at "+own.Path)
		}
		return nil
	}
	return q.refuse(goipp.StatusErrorBadRequest, "the operation needs "+strings.Join(targets, " or "))
}
