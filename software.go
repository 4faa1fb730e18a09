package mfpgate

import "time"

// Package is one version of a device's software, as bytes. It never changes: other bytes are another package.
type Package struct {
	ID      string `json:"packageId"`
	Model   string `json:"model"`
	Version string `json:"version"`
	Size    int64  `json:"size"`   // in bytes
	SHA256  string `json:"sha256"` // 64 hexadecimal digits, lower case
}

// DeliveryOrder is what a device is to install, and when.
type DeliveryOrder struct {
	Delivery  string    `json:"deliveryId"`
	Version   string    `json:"version"` // the entity tag without its quotes
	Start     time.Time `json:"start"`
	LatestEnd time.Time `json:"latestEnd,omitzero"` // who has not begun by then does not begin; zero: none
	Running   bool      `json:"running,omitempty"`  // the delivery system was told before that it has begun
	Package   Package   `json:"package"`
}

// DeliveryReport is what the gateway tells the delivery system of a delivery that it makes for a device.
type DeliveryReport struct {
	Delivery string        `json:"deliveryId"`
	Package  string        `json:"packageId"`
	State    DeliveryState `json:"state"`            // DeliveryRunning, DeliveryDone or DeliveryFailed
	Reason   Reason        `json:"reason,omitempty"` // of a failure
	Detail   string        `json:"detail,omitempty"` // for people
	Final    bool          `json:"final,omitempty"`  // of a failure: only a person may have it tried again
	Firmware string        `json:"firmware,omitempty"`
	SHA256   string        `json:"sha256,omitempty"` // of the bytes that were fetched and verified
	Size     int64         `json:"size,omitempty"`   // of those that the device took
}
