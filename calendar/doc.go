// Package calendar turns local-time intent into instants: cron lines and RRULEs, windows, and the capacity that changes
// with the hour.
//
// Intent is a local wall time in an IANA zone; an offset is never stored, because the rules of a zone change. A [Recurrence]
// gives the instants at which a rule is due, a [Window] the intervals during which something is allowed, a [Capacity] the
// number of devices served at a moment. Most callers need [ParseCron], [ParseRRULE], [NewWindow] or [NewCapacity].
//
// # Clock changes
//
// Twice a year most zones skip or repeat local time. A local time that the clock skips (gap) or shows twice (fold) is
// resolved by a [Policy]; the zero Policy runs a skipped time at the first instant after the gap, and a repeated time once,
// at its first showing. Each occurrence of a rule is resolved alone and instants that coincide are merged, so no instant is
// given twice. Rules of every hour or minute ([ParseCron] and [ParseRRULE] say which) run on elapsed time: none is lost when
// the clock changes. Windows and capacity need no policy: they hold while the
// local clock shows a time inside them, so 20:00-06:00 lasts 9 or 11 hours on such nights.
//
// # Refusals
//
// Parsers are strict and bounded: they refuse what they do not implement by name, and rules that can never occur, and
// their errors name the rule and the fix but no position, which the caller knows. Nothing here panics on any text.
//
// Zones come from the system's tzdata and, where it has none, from the copy in the program; [TZData] names the version.
// A rule keeps no instants but its end and, of hourly and minutely ones, its start: after a change of the zones' rules the
// program starts again and parses anew.
//
// The engine is ours because the libraries fail at clock changes: robfig/cron skips the day in a gap and runs twice in a
// fold, rrule-go loses the repeated hour, and both take ten microseconds and more for an occurrence. rrule-go remains as the
// tests' oracle, away from clock changes. Cron fields are parsed here as well: robfig's parser panics on a TZ= prefix and
// takes empty lists, so it serves no strictness.
package calendar
