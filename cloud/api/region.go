package api

import (
	"time"

	"github.com/mfpgate/mfpgate"
)

// A region has two roles, each with URLs and credentials of its own: its management server and its services. Documents of moves are
// the root's own types: MovePlan, Move, Holding, Registrant, MoveOrder, MoveAnswer, Residence, DeletionReceipt.
//
// The management server:
//
//	GET  /v1/regions                             SignedRegions                     anybody
//	GET  /v1/region-keys                         RegionKeys                        anybody
//	POST /v1/gateways/{gw}/moves                 MoveRequest -> MovePlan or Move   gateway; 200 with the plan if dryRun, else 201
//	GET  /v1/gateways/{gw}/moves?after=&wait=&limit=  MovesPage                    gateway; held back up to wait seconds while empty
//	GET  /v1/gateways/{gw}/moves/{id}            mfpgate.Move                      gateway
//	POST /v1/gateways/{gw}/moves/{id}/{verb}     MoveAct -> mfpgate.Move           gateway; abort, retry, confirm-lost, probes, switch, check-ins
//	GET  /v1/gateways/{gw}/residences            Page of mfpgate.Residence         gateway
//	POST /v1/gateways/{gw}/registrations         EnrolRequest -> mfpgate.Residence gateway; registration under the market's id
//	GET  /v1/moves, /v1/moves/{id}               the same, of all gateways         operator
//	POST /v1/moves/{id}/{verb}                   abort, retry, confirm-lost        operator
//	GET  /v1/audit/{room}, /v1/audit/{room}/verify                                 operator; rooms are management and services
//	GET  /mgmt/v1/registrants?model=&serial=     mfpgate.Registrant                another region's management server
//	POST /mgmt/v1/orders                         mfpgate.MoveOrder -> MoveAnswer   another region's management server; copy, delta, notify, redirect, delete
//	POST /device/v1/registrations                DeviceRegistration -> HoldingBrief device: registers with its region, once
//	GET  /device/v1/directive                    SignedDirective                   device; 404 while there is none
//	POST /device/v1/directive/ack                DirectiveAck                      device
//
// The services:
//
//	GET  /svc/v1/rollout?country=                Rollout                           a management server
//	GET  /svc/v1/registrations                   Page of mfpgate.Holding           operator
//	GET  /svc/v1/registrations/{mfp}             mfpgate.Holding                   a management server
//	POST /svc/v1/registrations                   ServiceRegistration -> mfpgate.Holding   own management server: a new one, or of a foreign id
//	POST /svc/v1/registrations/{mfp}:{step}      mfpgate.MoveOrder -> MoveAnswer   a management server; {step} is order.Step
//	PUT  /svc/v1/registrations/{mfp}             mfpgate.HoldingTransfer -> MoveAnswer            another region's services: what is copied
//	POST /svc/v1/devices/{mfp}/check-ins         ServiceCheckIn -> HoldingBrief    device
//	GET, PUT, DELETE /svc/v1/devices/{mfp}/data/{class}/{item}                     device; bytes
//
// A services role that holds a device no more answers it 421 with reason Moved, and while it drains a change 503 with Retry-After.
const (
	RegionsPath      = "/v1/regions"
	RegionKeysPath   = "/v1/region-keys"
	RegistrantsPath  = "/mgmt/v1/registrants"
	OrdersPath       = "/mgmt/v1/orders"
	DirectivePath    = "/device/v1/directive"
	DirectiveAckPath = "/device/v1/directive/ack"
	DevicesPath      = "/device/v1/registrations"
	RolloutPath      = "/svc/v1/rollout"
	HoldingsPath     = "/svc/v1/registrations"
	ServiceDevices   = "/svc/v1/devices"

	// MaxMoveWait is the longest that a management server holds back an empty page of moves, in seconds.
	MaxMoveWait = 60
	// MaxItem bounds one item of a device's data, MaxTransfer all that a move copies, in bytes.
	MaxItem     = 32 << 10
	MaxTransfer = 8 << 20
)

// What signed documents are for (package jws).
const (
	PurposeRegions   = "regions"
	PurposeDirective = "directive"
	PurposeReceipt   = "deletion-receipt"
)

// Reasons of moves that a caller acts upon.
const (
	Moved         = "moved"           // 421: another region has the device; the directive says which
	Draining      = "draining"        // 503: the device is being moved; changes wait
	NotRegistered = "not-registered"  // 404: the device is not registered here
	Fenced        = "fenced"          // 409: a step lower than one that was executed
	OutOfTurn     = "out-of-turn"     // 409: what is held does not allow the step
	UnknownHere   = "id-unknown-here" // 404: neither this region nor the market's knows the device
	PlanChanged   = "plan-changed"    // 409: what was planned is not true any more
	AfterCommit   = "after-commit"    // 409: a move that is committed cannot be aborted
	MoveOpen      = "move-open"       // 409: the device is being moved already
)

// SignedRegions are the hosts of every region that the server knows, as []mfpgate.RegionHosts signed for PurposeRegions.
type SignedRegions struct {
	Items  []mfpgate.RegionHosts `json:"items"` // to read; what counts is what is signed
	Signed string                `json:"signed"`
}

// RegionKeys are the public keys (Ed25519, base64 of 32 bytes) under which regions sign, by region.
type RegionKeys struct {
	Keys map[string][]string `json:"keys"`
}

// MoveStart asks for a move or, with DryRun, for its plan.
type MoveStart struct {
	mfpgate.MoveRequest
	DryRun bool   `json:"dryRun,omitempty"`
	Actor  string `json:"actor,omitempty" maxLength:"256" doc:"Who asked, at the gateway"`
}

// MovesPage are moves that have changed, each as it is now. NextCursor is where to go on, also when Items is empty.
type MovesPage struct {
	Items      []mfpgate.Move `json:"items"`
	NextCursor string         `json:"nextCursor"`
}

// MoveAct is what a gateway does to a move, or tells of it; which fields count depends on the verb.
type MoveAct struct {
	Actor  string              `json:"actor,omitempty" maxLength:"256"`
	Epoch  uint64              `json:"epoch,omitempty"`  // switch, check-ins
	At     time.Time           `json:"at,omitzero"`      // check-ins
	Probes []mfpgate.NameProbe `json:"probes,omitempty"` // probes
	Seen   mfpgate.Seen        `json:"seen,omitempty"`
}

// The verbs of MoveAct.
const (
	VerbAbort       = "abort"
	VerbRetry       = "retry"
	VerbConfirmLost = "confirm-lost"
	VerbProbes      = "probes"
	VerbSwitch      = "switch"
	VerbCheckIns    = "check-ins"
)

// EnrolRequest asks for the registration of a device of another market in this region.
type EnrolRequest struct {
	DeviceID     mfpgate.DeviceID `json:"deviceId"`
	Registration string           `json:"registration,omitempty" doc:"The market's id, if it is known; else the market is asked"`
	Actor        string           `json:"actor,omitempty" maxLength:"256"`
}

// Rollout is what a region offers in a country.
type Rollout struct {
	Country string                 `json:"country"`
	Items   []mfpgate.ServiceOffer `json:"items"`
}

// DeviceRegistration is what a device asks its region for at its first start.
type DeviceRegistration struct {
	Model    string                `json:"model" maxLength:"256"`
	Serial   string                `json:"serial" maxLength:"256"`
	Name     string                `json:"name,omitempty" maxLength:"256"`
	Services []mfpgate.HeldService `json:"services" maxItems:"16"`
}

// ServiceRegistration enters a device in the services: anew, or with ForeignOf under the id of another region, without data.
type ServiceRegistration struct {
	MFP          string                `json:"mfp"`
	Registration string                `json:"registration"`
	Epoch        uint64                `json:"epoch"`
	Services     []mfpgate.HeldService `json:"services"`
	Foreign      string                `json:"foreign,omitempty" doc:"The region that holds the data"`
}

// ServiceCheckIn is a device's sign of life to its services.
type ServiceCheckIn struct {
	Epoch uint64 `json:"epoch"` // that the device believes in
}

// HoldingBrief is what a device may know of its holding.
type HoldingBrief struct {
	Registration string               `json:"registration"`
	Region       string               `json:"region"`
	Epoch        uint64               `json:"epoch"`
	State        mfpgate.HoldingState `json:"state"`
	Services     []string             `json:"services"`
	ServicesURL  string               `json:"servicesUrl,omitempty"` // of a new registration: where they are
}

// SignedDirective is a mfpgate.Directive, signed for PurposeDirective by the management server of the region that the device leaves.
type SignedDirective struct {
	Signed string `json:"signed"`
}

// DirectiveAck says that a device has stored a directive and goes by it.
type DirectiveAck struct {
	Move  mfpgate.MoveID `json:"moveId"`
	Epoch uint64         `json:"epoch"`
}
