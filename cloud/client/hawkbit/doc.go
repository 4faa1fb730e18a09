// Package hawkbit is a delivery system that is an Eclipse hawkBit server: it reads a gateway's deliveries from hawkBit's
// management API, and moves them. It has the methods of the scheduler's DeliverySystem. It was tested against a fake that was
// built from the published REST contract (package hawkbittest), and not against a running hawkBit.
//
// What stands for what:
//
//	gateway      the targets that Options.Targets (RSQL) selects
//	device       the target's controllerId, or an attribute of the target (Options.DeviceAttribute)
//	delivery     an active action; its id is that of the action that was seen first, and stays while the adapter moves it
//	start        the maintenance window's next start; or forceTime; or the start of the action's rollout; or the action's creation
//	window       the maintenance window; or the interval in an attribute of the target (Options.WindowAttribute)
//	version      a digest of what says when and what: hawkBit has no entity tags
//	batch        the rollout, or the distribution set
//	priority     weight/100
//	durations    Options.Duration, until the scheduler has learned better ones
//
// hawkBit has no differences, so every answer is whole, under a token that is a digest of it. It has no background schedules,
// no place for reports, which are dropped, and no page for proposals: one that is not to be applied stays pending, with a reason
// that says so, until it is applied at the gateway or withdrawn. It has no events; Events tells of the adapter's own moves.
//
// A move. hawkBit cannot change an action's window: the action is cancelled, the device confirms that at its next poll, and only
// then may the same distribution set be assigned again. And a maintenance window gates the installation alone: hawkBit offers
// the download as soon as there is an assignment. So the adapter holds the assignment: it assigns Options.Ahead before the new
// start, with a one-shot Quartz cron in the offset of that date, and the relay carries the download then. A change is pending
// until the device has confirmed and applied from then on; what is held is in the Log, and is shown as a delivery like others.
// Moving it once more needs no call.
//
// It promises, as long as the Log is durable and Run runs: each step is in the log before it is taken, so that after a crash at
// any step the move goes on where it stood; no target has two active actions by the adapter; no delivery is lost: an assignment
// that hawkBit refuses is made again as it was, one whose one-shot window passed unused is put back under its recurring one, and
// what can be neither is shown as failed with hawkBit's reason. Before it cancels it reads the action again: another version is
// a conflict. An assignment that somebody else made meanwhile stands, and what was held is dropped.
//
// It refuses answers that are too long, contradict themselves or name what no path can carry (ErrAnswer), redirects, and plain
// HTTP to anything but a loopback address. It moves nothing of a rollout, nothing that a device has begun to download, nothing
// that waits for a confirmation, and nothing that has no time yet: these are pinned with a reason.
//
// Limits: MaxTargets, MaxActions and MaxMoves; windows are shorter than 24 hours; zones are offsets. While the gateway is down a
// held assignment is not made; it is made late, if its window still allows. Between the answer of a cancellation that got lost
// and a person who cancels the same action in the same moment it cannot tell. What the adapter has not moved downloads when
// hawkBit offers it, not in its window: the relay's own limit is what holds there. Rollouts that have not started have no
// actions and are not seen.
package hawkbit
