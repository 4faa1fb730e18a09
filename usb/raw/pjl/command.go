package pjl

import (
	"slices"
	"strings"
)

// UEL is the Universal Exit Language command: it ends whatever language the printer is in, ejects the page that it has begun, and
// returns to PJL (HP, chapter 4).
const UEL = "\x1b%-12345X"

// maxName is how many bytes of a job's name are significant (HP, chapter 5, JOB).
const maxName = 80

// Job is a job framed in PJL.
type Job struct {
	Name     string // at most 80 printable ASCII characters without a quote count; see JobName
	Language string // what ENTER LANGUAGE wants; see Language
	Track    bool   // the printer is to say when the job starts, ends or is canceled, and what keeps it from its work
}

// Open are the commands before the document.
func (j Job) Open() []byte {
	var b strings.Builder
	b.WriteString(UEL + "@PJL\r\n")
	if j.Track {
		b.WriteString("@PJL USTATUS JOB = ON\r\n@PJL USTATUS DEVICE = ON\r\n")
	}
	b.WriteString("@PJL JOB NAME = \"" + j.Name + "\"\r\n")
	b.WriteString("@PJL ENTER LANGUAGE = " + j.Language + "\r\n")
	return []byte(b.String())
}

// Close are the commands behind the document, or behind the part of it that was sent.
func (j Job) Close() []byte {
	return []byte(UEL + "@PJL\r\n@PJL EOJ NAME = \"" + j.Name + "\"\r\n" + UEL)
}

// Quiet turns off what Track turned on.
func Quiet() []byte { return []byte(UEL + "@PJL USTATUSOFF\r\n" + UEL) }

// Ask is the question for a category of INFO, between jobs.
func Ask(category string) []byte { return []byte(UEL + "@PJL INFO " + category + "\r\n" + UEL) }

// JobName is a name for JOB and EOJ: of name what PJL allows, shortened, and mark whole, by which the printer's answers are told
// from those for other jobs.
func JobName(name, mark string) string {
	name = strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r < ' ' || r > '~':
			return '_'
		}
		return r
	}, name))
	if most := maxName - len(mark) - 1; len(name) > most {
		name = strings.TrimSpace(name[:max(most, 0)])
	}
	return strings.TrimSpace(name + " " + mark)
}

// Spoken reports whether PJL is among a device id's command sets (CMD).
func Spoken(commandSet []string) bool {
	return among(commandSet, func(s string) bool { return s == "PJL" })
}

// Language is what ENTER LANGUAGE calls a document's media type, where the printer's command set has that language; else "".
func Language(format string, commandSet []string) string {
	family := func(names ...string) bool {
		return among(commandSet, func(s string) bool { return slices.Contains(names, s) })
	}
	switch strings.ToLower(format) {
	case "application/pdf":
		if family("PDF") {
			return "PDF"
		}
	case "application/postscript":
		if family("POSTSCRIPT", "POSTSCRIPT2", "POSTSCRIPT3", "PS", "PS2", "PS3") {
			return "POSTSCRIPT"
		}
	case "application/vnd.hp-pcl":
		if family("PCL", "PCL5", "PCL5C", "PCL5CE", "PCL5E", "PCL4") {
			return "PCL"
		}
	case "application/vnd.hp-pclxl":
		if family("PCLXL", "PCL6", "PCL-XL") {
			return "PCLXL"
		}
	}
	return ""
}

func among(set []string, is func(string) bool) bool {
	return slices.ContainsFunc(set, func(s string) bool {
		s, _, _ = strings.Cut(strings.ToUpper(strings.TrimSpace(s)), " ") // "PCL 5e", "POSTSCRIPT LEVEL 3"
		return is(s)
	})
}
