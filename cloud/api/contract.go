package api

import (
	"slices"
	"time"
)

// ServiceDelivery is the contract's service that lets the cloud plan software for the gateway's devices.
const ServiceDelivery = "software-delivery"

// Contract is what the customer bought for one gateway.
type Contract struct {
	ContractID       string         `json:"contractId" maxLength:"64"`
	Mode             string         `json:"mode" enum:"notify,propose,auto" doc:"The most that the gateway may do about an overload"`
	MaxConcurrent    int            `json:"maxConcurrent" minimum:"0" maximum:"100000" doc:"Devices served at once; 0: no limit in the contract"`
	CapacityCalendar []CapacityRule `json:"capacityCalendar" maxItems:"64"`
	LeadTime         Duration       `json:"leadTime" format:"duration"`
	Slot             Duration       `json:"slot" format:"duration"`
	MaxMove          Duration       `json:"maxMove" format:"duration"`
	NotifyMinExcess  int            `json:"notifyMinExcess" minimum:"1"`
	FetchCron        string         `json:"fetchCron" maxLength:"128"`
	TimeZone         string         `json:"timeZone" doc:"IANA name"`
	Services         []string       `json:"services" maxItems:"64"`
	Polling          *Polling       `json:"polling,omitempty" doc:"Missing: the gateway's own intervals"`
}

// CapacityRule lowers the limit in a recurring time band of local time.
type CapacityRule struct {
	RRule         string `json:"rrule" maxLength:"256" doc:"RFC 5545"`
	Start         string `json:"start" pattern:"^[0-2][0-9]:[0-5][0-9]$"`
	End           string `json:"end" pattern:"^[0-2][0-9]:[0-5][0-9]$"`
	TimeZone      string `json:"timeZone"`
	MaxConcurrent int    `json:"maxConcurrent" minimum:"0"`
}

// DefaultContract is what a new gateway has until its operator sets another.
func DefaultContract(gateway string) Contract {
	return Contract{
		ContractID: "standard-" + gateway, Mode: "propose", MaxConcurrent: 50, CapacityCalendar: []CapacityRule{},
		LeadTime: Duration(13 * time.Hour), Slot: Duration(5 * time.Minute), MaxMove: Duration(24 * time.Hour),
		NotifyMinExcess: 1, FetchCron: "17 * * * *", TimeZone: "UTC", Services: []string{ServiceDelivery},
	}
}

// Has reports whether the contract includes a service.
func (c Contract) Has(service string) bool { return slices.Contains(c.Services, service) }
