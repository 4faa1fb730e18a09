package api

import (
	"errors"
	"fmt"
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

// Check returns every rule that the contract breaks, joined, each naming its field.
func (c Contract) Check() error {
	var errs []error
	if !slices.Contains([]string{"notify", "propose", "auto"}, c.Mode) {
		errs = append(errs, fmt.Errorf("mode %q: must be notify, propose or auto", c.Mode))
	}
	if c.MaxConcurrent < 0 || c.MaxConcurrent > 100_000 {
		errs = append(errs, fmt.Errorf("maxConcurrent %d: must be 0 to 100000", c.MaxConcurrent))
	}
	if c.NotifyMinExcess < 1 {
		errs = append(errs, fmt.Errorf("notifyMinExcess %d: must be at least 1", c.NotifyMinExcess))
	}
	if _, err := time.LoadLocation(c.TimeZone); err != nil || c.TimeZone == "" || c.TimeZone == "Local" {
		errs = append(errs, fmt.Errorf("timeZone %q: must be an IANA name such as Asia/Tokyo", c.TimeZone))
	}
	for i, r := range c.CapacityCalendar {
		if _, err := time.Parse("15:04", r.Start); err != nil {
			errs = append(errs, fmt.Errorf("capacityCalendar[%d].start %q: must be HH:MM", i, r.Start))
		}
		if _, err := time.Parse("15:04", r.End); err != nil {
			errs = append(errs, fmt.Errorf("capacityCalendar[%d].end %q: must be HH:MM", i, r.End))
		}
		if r.MaxConcurrent < 0 {
			errs = append(errs, fmt.Errorf("capacityCalendar[%d].maxConcurrent %d: must be 0 or more", i, r.MaxConcurrent))
		}
	}
	if c.Polling != nil {
		errs = append(errs, c.Polling.check()...)
	}
	return errors.Join(errs...)
}
