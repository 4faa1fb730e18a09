package portal

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mfpgate/mfpgate"
)

// Where a consumable is nearly used up, and a receptacle nearly full, in per cent.
const (
	lowPercent  = 10
	fullPercent = 90
)

// The picture of a row: at most so many bars, each in a cell of its own.
const (
	maxBars    = 8
	cellWidth  = 17
	tankHeight = 24.0
)

// barLength is a bar's length on a device's own page.
const barLength = 180.0

// gauge is one supply as it is drawn and said. Colour says nothing that the words do not.
type gauge struct {
	Name     string
	Kind     string // what it is, where the name does not say so
	Letter   string // under the bar
	Fill     string // #rrggbb
	Known    bool   // the level is
	Some     bool   // there is some left, and how much is not known
	Endless  bool
	Receives bool
	Percent  int
	Words    string // the level
	Alarm    look   // its class is "" while all is well

	X               int // of its cell in a row's picture
	Level, Top      string
	Length, LevelAt string // on the device's own page
}

// colorants are the colours that devices name (RFC 3805 §5, prtMarkerColorantValue; PWG 5101.1 §4.4).
var colorants = map[string]struct{ fill, letter string }{
	"black": {"#22262c", "K"}, "cyan": {"#009fd6", "C"}, "magenta": {"#d4177f", "M"}, "yellow": {"#f2bf00", "Y"},
	"lightcyan": {"#8ad8f0", "c"}, "lightmagenta": {"#f09ccb", "m"}, "photoblack": {"#22262c", "P"}, "matteblack": {"#3a3f46", "K"},
	"gray": {"#878e98", "G"}, "grey": {"#878e98", "G"}, "lightgray": {"#b9bfc8", "g"}, "lightgrey": {"#b9bfc8", "g"},
	"red": {"#c9302c", "R"}, "green": {"#2b8a3e", "G"}, "blue": {"#2456c7", "B"}, "orange": {"#e8750a", "O"}, "violet": {"#7a3fb0", "V"},
	"white": {"#ffffff", "W"}, "clear": {"#e3e8ee", "T"},
}

const noColorant = "#78849a"

var hexColour = regexp.MustCompile(`^#[0-9A-Fa-f]{6}$`)

// inRow are the kinds that every row shows; others only where they need somebody.
var inRow = []string{"toner", "ink", "tonerCartridge", "inkCartridge", "inkRibbon", "solidWax", "ribbonWax", "developer", "wasteToner", "wasteInk", "wasteWax"}

func newGauge(s mfpgate.Supply) gauge {
	g := gauge{Name: upperFirst(s.Name), Kind: supplyKind(s.Type), Fill: noColorant, Receives: s.Receives}
	colour, known := colorants[strings.NewReplacer(" ", "", "-", "", "_", "").Replace(strings.ToLower(s.Color))]
	switch {
	case known:
		g.Fill, g.Letter = colour.fill, colour.letter
	case hexColour.MatchString(s.Color):
		g.Fill = s.Color
	}
	if g.Name == "" {
		g.Name = upperFirst(strings.TrimSpace(s.Color + " " + g.Kind))
	}
	if g.Kind == "" || strings.Contains(strings.ToLower(g.Name), strings.ToLower(g.Kind)) {
		g.Kind = ""
	}
	if first, _ := utf8.DecodeRuneInString(g.Name); g.Letter == "" && g.Name != "" {
		g.Letter = string(unicode.ToUpper(first))
	}
	g.Percent, g.Known = s.Percent()
	g.Some, g.Endless = s.Level == mfpgate.LevelSome, s.Level == mfpgate.LevelOther
	g.Words = g.levelWords(s)
	g.Alarm = g.alarm()
	g.Level = decimal(tankHeight * float64(g.Percent) / 100)
	g.Top = decimal(1 + tankHeight*float64(100-g.Percent)/100)
	g.Length, g.LevelAt = decimal(barLength*float64(g.Percent)/100), decimal(1+barLength*float64(g.Percent)/100)
	return g
}

// supplyKind says what it is; two keywords are no words.
func supplyKind(of string) string {
	switch of {
	case "opc":
		return "drum"
	case "other", "unknown":
		return ""
	}
	return keyword(of)
}

func (g gauge) levelWords(s mfpgate.Supply) string {
	switch {
	case g.Known && g.Receives:
		return fmt.Sprintf("%d\u202f%% full", g.Percent)
	case g.Known:
		return fmt.Sprintf("%d\u202f%%", g.Percent)
	case g.Some && g.Receives:
		return "some room is left"
	case g.Some:
		return "some is left"
	case g.Endless:
		return "no limit"
	case s.Level >= 0:
		return strings.TrimSpace(count(int(s.Level)) + " " + keyword(s.Unit))
	}
	return "level not known"
}

func (g gauge) alarm() look {
	switch {
	case !g.Known:
	case g.Receives && g.Percent == 100:
		return look{Sign: "✕", Word: "full", Class: "bad"}
	case g.Receives && g.Percent >= fullPercent:
		return look{Sign: "▲", Word: "nearly full", Class: "warn"}
	case !g.Receives && g.Percent == 0:
		return look{Sign: "✕", Word: "empty", Class: "bad"}
	case !g.Receives && g.Percent <= lowPercent:
		return look{Sign: "▲", Word: "low", Class: "warn"}
	}
	return look{}
}

// gauges are all of a reading's supplies, in the device's order.
func gauges(supplies []mfpgate.Supply) []gauge {
	var all []gauge
	for _, s := range supplies {
		all = append(all, newGauge(s))
	}
	return all
}

// picture is what a row shows of a device's supplies.
type picture struct {
	Width  int
	Bars   []gauge
	Words  string // for those who do not see it
	Alarms []gauge
	More   int
}

func newPicture(supplies []mfpgate.Supply) picture {
	var p picture
	var words []string
	for _, s := range supplies {
		g := newGauge(s)
		if g.Alarm.Class == "" && !slices.Contains(inRow, s.Type) {
			continue
		}
		words = append(words, g.Name+": "+g.Words)
		if g.Alarm.Class != "" {
			p.Alarms = append(p.Alarms, g)
		}
		if len(p.Bars) == maxBars {
			p.More++
			continue
		}
		g.X = len(p.Bars) * cellWidth
		p.Bars = append(p.Bars, g)
	}
	p.Width, p.Words = len(p.Bars)*cellWidth, strings.Join(words, ", ")
	return p
}

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }

// keyword makes words of a keyword: media-jam is media jam, wasteToner waste toner.
func keyword(k string) string {
	var b strings.Builder
	lower := false
	for _, r := range k {
		switch {
		case r == '-' || r == '_':
			b.WriteByte(' ')
		case unicode.IsUpper(r) && lower:
			b.WriteByte(' ')
			b.WriteRune(unicode.ToLower(r))
		default:
			b.WriteRune(r)
		}
		lower = unicode.IsLower(r)
	}
	return b.String()
}

func upperFirst(text string) string {
	first, n := utf8.DecodeRuneInString(text)
	if n == 0 {
		return text
	}
	return string(unicode.ToUpper(first)) + text[n:]
}
