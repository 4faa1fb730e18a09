package mfpgate

import "time"

// ResidenceState says where a device's data are, from the site's point of view.
type ResidenceState string

// The states of a residence.
const (
	ResidenceHome    ResidenceState = "home"    // all in the site region
	ResidenceAbroad  ResidenceState = "abroad"  // in another region; it may be moved
	ResidenceForeign ResidenceState = "foreign" // registered here under an id of another region, where its data are
	ResidenceMoving  ResidenceState = "moving"
	ResidenceUnknown ResidenceState = "unknown" // no region that was asked knows the device, or its region cannot be asked
)

// Enforcement says whether the relay can keep a device from the wrong region.
type Enforcement string

// A device whose connections do not come through the relay is unenforced, whatever its routes say.
const (
	Enforced     Enforcement = "enforced"
	Unenforced   Enforcement = "unenforced"
	EnforcedNone Enforcement = "" // nothing is to be enforced: its region was never changed, or region.enforce is off
)

// Residence says in which region a device's data are, since when, and who promised that they are nowhere else.
type Residence struct {
	Device       DeviceID          `json:"deviceId"`
	Name         string            `json:"name"` // as the gateway names it; regions leave it empty
	MFP          string            `json:"mfp"`
	Market       string            `json:"market"`
	Home         string            `json:"home"` // "" is not known
	State        ResidenceState    `json:"state"`
	Reason       Reason            `json:"reason"`
	Detail       string            `json:"detail"`
	Registration string            `json:"registration"`
	Epoch        uint64            `json:"epoch"`
	Since        time.Time         `json:"since,omitzero"`
	Services     []HeldService     `json:"services"`
	Data         []ResidentData    `json:"data"`
	Receipts     []DeletionReceipt `json:"receipts"` // the newest first
	Move         MoveID            `json:"moveId"`   // open, or the last
	Enforcement  Enforcement       `json:"enforcement"`
	Bypassed     string            `json:"bypassed"` // why it is unenforced
}

// ResidentData is a class of data and the region that it is in.
type ResidentData struct {
	HeldData
	Region string `json:"region"`
}

// RegionHosts are the hosts of a region's cloud, each "host:port", or "host" for every port.
type RegionHosts struct {
	Region     string   `json:"region"`
	Management []string `json:"managementHosts"`
	Services   []string `json:"serviceHosts"`
}

// Directive tells a device which cloud is its own from now on. Its region's management server signs it.
type Directive struct {
	MFP        string    `json:"mfp"`
	Move       MoveID    `json:"moveId"`
	Epoch      uint64    `json:"epoch"`
	Region     string    `json:"region"`
	Management string    `json:"managementUrl"`
	Services   string    `json:"servicesUrl"`
	NotBefore  time.Time `json:"notBefore"`
}
