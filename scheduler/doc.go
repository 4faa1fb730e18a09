// Package scheduler keeps a gateway's delivery schedules within what its relay can carry: it fetches what is planned, finds the
// overloads, reports them, and repairs them as far as its mode allows.
//
// A run is: what became of the last proposal; what has changed at the delivery system; a plan; and then, by the mode that
// configuration and contract both allow, a report (notify), a proposal for a person (propose), or one that is applied (auto).
// Runs come from the schedule of Policy.Fetch (package cronjob), from the delivery system's events, from Wake, and from users.
// There is none while the contract has no software-delivery, no device is in mode proxy or on USB, or the cloud has not acknowledged the
// devices' modes; Status says which.
//
// It promises: deliveries and the token of their state are durable, the token written last, so that a kill at any point is
// followed by reading the same difference again. What is sent is decided in one transaction with the intents to send it, and
// their ids come from their content: the same report, or proposal, is never sent under two ids, and is sent until the delivery
// system has taken or refused it. A proposal is withdrawn before another takes its place. What was rejected is not proposed
// again until the delivery or the overload has changed. What was computed from stale versions is computed again, MaxReplans
// times in a row, and then at the next scheduled run.
//
// It refuses whole answers that break a bound or contradict themselves (ErrAnswer): the last good plan stays. It fails softly:
// a run that fails is tried again with growing delays; Status and the metrics say so; Planned and Timeline answer from the last
// good plan.
//
// Keys of its store:
//
//	state              token, window, versions; what was reported and proposed last
//	delivery/<id>      a delivery
//	rejected/<id>      a delivery whose new start was rejected
//	blob/<sha256>/<n>  parts of what is larger than a record: background, report, proposal, outcome
//	duration/…         package duration
//	journal/…          package journal
package scheduler
