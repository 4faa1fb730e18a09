package mfpgate

import (
	"encoding/json"
	"time"
)

// HoldingState says what a region's services are to a device.
type HoldingState string

// The states of a holding. Devices are answered while it is active or draining; a moved one names the region that answers.
const (
	HoldingAbsent   HoldingState = ""
	HoldingPrepared HoldingState = "prepared" // copied, and not yet in use
	HoldingActive   HoldingState = "active"
	HoldingDraining HoldingState = "draining" // answers, and takes no changes
	HoldingMoved    HoldingState = "moved"    // purged but for what was to be left; another region is active
	HoldingAborted  HoldingState = "aborted"  // of a move that was taken back; nothing is held
	HoldingForeign  HoldingState = "foreign"  // registered here under the id of another region, which holds the data
)

// Holding is what a region's services hold of a device: its registration and its data.
type Holding struct {
	MFP          string           `json:"mfp"`
	Region       string           `json:"region"`
	State        HoldingState     `json:"state"`
	Epoch        uint64           `json:"epoch"`
	Registration string           `json:"registration"` // its id, with the country that issued it
	Since        time.Time        `json:"since"`        // in this state
	Services     []HeldService    `json:"services"`
	Data         []HeldData       `json:"data"`
	Digest       string           `json:"digest"`               // of the data that a move would copy; see MoveAnswer
	To           string           `json:"to,omitempty"`         // of a moved one: where
	Move         MoveID           `json:"moveId,omitempty"`     // that it takes part in, or did last
	Seq          int              `json:"seq"`                  // highest step of that move that was executed
	CheckedIn    time.Time        `json:"checkedIn,omitzero"`   // first in this epoch
	LastCheckIn  time.Time        `json:"lastCheckIn,omitzero"` // last in this epoch
	Receipt      *DeletionReceipt `json:"receipt,omitempty"`    // of a moved one
}

// HeldService is a service that the device is registered in, with the child services that are linked to it.
type HeldService struct {
	ID       string   `json:"id"`
	Children []string `json:"children"`
}

// HeldData is a class of data.
type HeldData struct {
	Class string `json:"class"`
	Items int    `json:"items"`
	Bytes int64  `json:"bytes"`
}

// ServiceOffer is a service that a region offers in a country, with its child services.
type ServiceOffer struct {
	ID       string   `json:"id"`
	Children []string `json:"children"`
}

// Registrant is a device as the management server of its market knows it (JP2025-008253 claim 3).
type Registrant struct {
	MFP          string        `json:"mfp"`
	Model        string        `json:"model"`
	Serial       string        `json:"serial"`
	Registration string        `json:"registration"`
	Region       string        `json:"region"` // that holds it now
	Epoch        uint64        `json:"epoch"`
	State        HoldingState  `json:"state"`
	Since        time.Time     `json:"since"`
	Services     []HeldService `json:"services"`
	Data         []HeldData    `json:"data"`
}

// MoveOrder is one step of a move, as the target's management server orders it of a region. It is idempotent by move and step.
type MoveOrder struct {
	Move         MoveID                `json:"moveId"`
	Step         MoveStep              `json:"step"`
	Epoch        uint64                `json:"epoch"` // the new one
	MFP          string                `json:"mfp"`
	From         string                `json:"from"`
	To           string                `json:"to"`
	Registration string                `json:"registration"`       // the new id
	Children     []string              `json:"children,omitempty"` // of unlink and relink, as service/child
	Data         map[string]DataPolicy `json:"data,omitempty"`     // of copy, delta and retire, each class
	Seen         Seen                  `json:"seen,omitempty"`
}

// MoveAnswer is what came of an order.
type MoveAnswer struct {
	State HoldingState `json:"state"`
	// Digest is the SHA-256, in hex, of what a move copies: services, children that stay, and every item of the classes that move.
	// Of the source for copy and delta, of the target for verify.
	Digest  string           `json:"digest,omitempty"`
	Receipt *DeletionReceipt `json:"receipt,omitempty"` // of retire
	// Management is the management server's own data of the device, for StepCopy and StepDelta to a management server.
	Management json.RawMessage `json:"management,omitempty"`
	AckedAt    time.Time       `json:"ackedAt,omitzero"` // of redirect: the device has acknowledged its directive
	Seen       Seen            `json:"seen,omitempty"`
}

// DeletionReceipt is a region's word that it has purged what it held of a device.
type DeletionReceipt struct {
	ID       string     `json:"receiptId"`
	Region   string     `json:"region"`
	MFP      string     `json:"mfp"`
	Move     MoveID     `json:"moveId"`
	Purged   []HeldData `json:"purged"`
	Left     []HeldData `json:"left"`   // by the policy leave
	Digest   string     `json:"digest"` // of what was held, SHA-256 in hex
	PurgedAt time.Time  `json:"purgedAt"`
	Signed   string     `json:"signed"` // all above as a JWS (RFC 7515, compact) under the region's key
}

// HeldItem is one datum of a device.
type HeldItem struct {
	Class string `json:"class" pattern:"^[a-z][a-z0-9-]{0,31}$"`
	Name  string `json:"name" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"`
	Value []byte `json:"value"`
}

// HoldingTransfer is what the source's services send to the target's at copy and delta.
type HoldingTransfer struct {
	Order    MoveOrder     `json:"order"`
	Services []HeldService `json:"services"`
	Items    []HeldItem    `json:"items"`
	Digest   string        `json:"digest"`
}
