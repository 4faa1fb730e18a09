// Package cronjob runs jobs when their schedules are due, and when somebody asks.
//
// robfig/cron runs the timers; what is due is decided here, because cron itself trusts its one timer: a machine that was
// suspended, or whose clock was set, would run late, or twice, or not for hours. So cron is never let sleep longer than
// MaxSleep, by the monotonic clock, and at each of these ticks the wall clock of mfpgate.Clock is asked whether the time of
// the schedule has come.
//
// It promises, for each job: one run at a time; what became due while the process, the machine or the job itself could not is
// run once and not once for each; after a run that failed another one, with full jitter and a growing delay, and not before
// the time that an error with a method Delay() time.Duration names; a panic is an error. A clock that is set forward makes due
// what lies between, once; one that is set back makes times due again only if half the schedule's interval has truly passed
// since the last run.
//
// A job that is still running when it is due again is not started: Observe is told, and the next time counts.
package cronjob
