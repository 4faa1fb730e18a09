// Package report decides what the cloud is told of devices in mode polling, and writes it down to be sent.
//
// A reading is reported when a part of it differs from what was reported last, and at the latest when Heartbeat has passed.
// A condition (a keyword of printer-state-reasons, or "offline") is an alert when it begins and when it ends. A counter that
// falls is an event, counter-reset, beside the reading that shows it: totals never go back in silence.
//
// What was reported last and what is to be sent are one transaction, so that a crash neither repeats an alert nor loses one.
// Readings and alerts wait in two queues of the journal, each bounded on disk: where the cloud is away for long, the oldest
// readings are dropped and counted, and alerts are kept.
//
// The package calls no cloud: the queues are delivered by whoever built them.
package report
