package ippsystem

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/protocol/ipp"
)

// The groups of system attributes (PWG 5100.22 §6.3).
const (
	description = "system-description"
	status      = "system-status"
)

// systemAttribute is made when it is asked for.
type systemAttribute struct {
	name, group string
	make        func(q *request) goipp.Attribute // without its name
}

func systemAttributes() []systemAttribute {
	return []systemAttribute{
		{"charset-configured", description, words(goipp.TagCharset, "utf-8")},
		{"charset-supported", description, words(goipp.TagCharset, "utf-8")},
		{"generated-natural-language-supported", description, words(goipp.TagLanguage, "en")},
		{"ipp-features-supported", description, words(goipp.TagKeyword, "system-service")},
		{"ipp-versions-supported", description, words(goipp.TagKeyword, "1.1", "2.0")},
		{"natural-language-configured", description, words(goipp.TagLanguage, "en")},
		{"oauth-authorization-scope", description, scope},
		{"oauth-authorization-server-uri", description, issuer},
		{"operations-supported", description, supported},
		{"system-info", description, name(goipp.TagText)},
		{"system-make-and-model", description, words(goipp.TagText, "mfpgate reference print service")},
		{"system-mandatory-registration-attributes", description, words(goipp.TagKeyword, "output-device-uuid", "printer-service-type")},
		{"system-name", description, name(goipp.TagName)},
		{"system-settable-attributes-supported", description, words(goipp.TagKeyword, "none")},
		{"system-xri-supported", description, func(q *request) goipp.Attribute {
			return goipp.MakeAttribute("", goipp.TagBeginCollection, q.xri(q.system.URI))
		}},
		{"uri-authentication-supported", description, fromXRI("xri-authentication")},
		{"xri-authentication-supported", description, fromXRI("xri-authentication")},
		{"xri-security-supported", description, fromXRI("xri-security")},
		{"xri-uri-scheme-supported", description, scheme},
		// Its configuration and its state are those that it has started with; IPP counts from 1 s.
		{"system-config-change-time", status, integer(func(*request) int { return 1 })},
		{"system-state", status, func(*request) goipp.Attribute {
			const idle = 3
			return goipp.MakeAttribute("", goipp.TagEnum, goipp.Integer(idle))
		}},
		{"system-state-change-time", status, integer(func(*request) int { return 1 })},
		{"system-state-message", status, words(goipp.TagText, "Ready.")},
		{"system-state-reasons", status, words(goipp.TagKeyword, "none")},
		{"system-up-time", status, integer(func(q *request) int { return max(1, int(q.system.UpTime/time.Second)) })},
		{"system-uuid", status, func(q *request) goipp.Attribute {
			return goipp.MakeAttribute("", goipp.TagURI, goipp.String("urn:uuid:"+q.system.UUID))
		}},
	}
}

// getSystemAttributes answers with what is asked for, by name, by group or all (PWG 5100.22; as RFC 8011 §4.2.5).
func getSystemAttributes(_ Service, _ context.Context, q *request) *goipp.Message {
	wanted := map[string]bool{}
	if a, ok := ipp.Find(q.message.Operation, "requested-attributes"); ok {
		unknown := goipp.Attribute{Name: a.Name}
		for _, v := range a.Values {
			keyword := v.V.String()
			if v.T != goipp.TagKeyword || !known(keyword) {
				unknown.Values.Add(v.T, v.V)
				continue
			}
			wanted[keyword] = true
		}
		if len(unknown.Values) > 0 {
			q.ignored.Add(unknown)
		}
	} else {
		wanted["all"] = true
	}
	answer := q.done()
	for _, a := range systemAttributes() {
		if wanted["all"] || wanted[a.group] || wanted[a.name] {
			made := a.make(q)
			made.Name = a.name
			answer.System.Add(made)
		}
	}
	return answer
}

func known(keyword string) bool {
	return slices.Contains([]string{"all", description, status}, keyword) ||
		slices.ContainsFunc(systemAttributes(), func(a systemAttribute) bool { return a.name == keyword })
}

func words(syntax goipp.Tag, all ...string) func(*request) goipp.Attribute {
	return func(*request) goipp.Attribute {
		var a goipp.Attribute
		for _, word := range all {
			a.Values.Add(syntax, goipp.String(word))
		}
		return a
	}
}

func name(syntax goipp.Tag) func(*request) goipp.Attribute {
	return func(q *request) goipp.Attribute {
		return goipp.MakeAttribute("", syntax, goipp.String(mfpgate.CleanText(q.system.Name, ipp.MaxText)))
	}
}

func integer(of func(*request) int) func(*request) goipp.Attribute {
	return func(q *request) goipp.Attribute {
		return goipp.MakeAttribute("", goipp.TagInteger, goipp.Integer(of(q)))
	}
}

func noValue() goipp.Attribute { return goipp.MakeAttribute("", goipp.TagNoValue, goipp.Void{}) }

func issuer(q *request) goipp.Attribute {
	if q.system.Issuer == "" {
		return noValue()
	}
	return goipp.MakeAttribute("", goipp.TagURI, goipp.String(q.system.Issuer))
}

// scope has a value for each word, names because a scope may have characters that a keyword may not.
func scope(q *request) goipp.Attribute {
	all := strings.Fields(q.system.Scope)
	if q.system.Issuer == "" || len(all) == 0 {
		return noValue()
	}
	return words(goipp.TagName, all...)(q)
}

func supported(*request) goipp.Attribute {
	var a goipp.Attribute
	for _, op := range slices.Sorted(maps.Keys(operations())) {
		a.Values.Add(goipp.TagEnum, goipp.Integer(op))
	}
	return a
}

// fromXRI is a member of the system's own system-xri-supported.
func fromXRI(member string) func(*request) goipp.Attribute {
	return func(q *request) goipp.Attribute {
		found, _ := ipp.Find(goipp.Attributes(q.xri(q.system.URI)), member)
		return goipp.Attribute{Values: found.Values}
	}
}

func scheme(q *request) goipp.Attribute {
	u, err := url.Parse(q.system.URI)
	if err != nil || u.Scheme == "" {
		return noValue()
	}
	return goipp.MakeAttribute("", goipp.TagURIScheme, goipp.String(u.Scheme))
}
