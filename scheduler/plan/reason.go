package plan

import "github.com/mfpgate/mfpgate"

// Why a delivery is left out of a plan.
const (
	ReasonFinished      mfpgate.Reason = "finished"        // it is done, failed or cancelled
	ReasonPast          mfpgate.Reason = "past"            // its planned time is over
	ReasonBeyond        mfpgate.Reason = "beyond-horizon"  // it is planned for after the horizon
	ReasonPolling       mfpgate.Reason = "polling-mode"    // its device does not come through the relay, and is not on USB
	ReasonUnknownDevice mfpgate.Reason = "unknown-device"  // its device is not the gateway's, nor an inner gateway's
	ReasonNotInContract mfpgate.Reason = "not-in-contract" // the contract has no software-delivery
	ReasonNeverStarts   mfpgate.Reason = "never-starts"    // its schedule names no instant: the clock skips it, or there is none
	ReasonNotReadable   mfpgate.Reason = "not-readable"    // its schedule is not well written
)
