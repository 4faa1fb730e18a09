package api

import "time"

// SnapshotContract is what a plan needs of a contract. Each missing part restricts nothing, except slot, which is then PT5M.
type SnapshotContract struct {
	MaxConcurrent    int            `json:"maxConcurrent,omitempty" minimum:"0" maximum:"100000" doc:"Devices served at once; 0: no limit in the contract"`
	CapacityCalendar []CapacityRule `json:"capacityCalendar,omitempty" maxItems:"64"`
	LeadTime         Duration       `json:"leadTime,omitempty" format:"duration"`
	Slot             Duration       `json:"slot,omitempty" format:"duration" doc:"PT5M if missing"`
	MaxMove          Duration       `json:"maxMove,omitempty" format:"duration" doc:"PT0S: no limit"`
	Mode             string         `json:"mode,omitempty" enum:"notify,propose,auto" doc:"propose if missing; a plan in mode notify proposes nothing"`
	NotifyMinExcess  int            `json:"notifyMinExcess,omitempty" minimum:"0" doc:"Devices; smaller overloads are left out"`
	TimeZone         string         `json:"timeZone,omitempty" maxLength:"64" doc:"IANA name; UTC if missing"`
	Services         []string       `json:"services,omitzero" maxItems:"64" doc:"Missing: software-delivery"`
}

// whole is the contract with what is missing filled in.
func (s SnapshotContract) whole() Contract {
	c := Contract{MaxConcurrent: s.MaxConcurrent, CapacityCalendar: s.CapacityCalendar, LeadTime: s.LeadTime, Slot: s.Slot, MaxMove: s.MaxMove,
		Mode: s.Mode, NotifyMinExcess: max(1, s.NotifyMinExcess), TimeZone: s.TimeZone, Services: s.Services}
	if c.Slot == 0 {
		c.Slot = Duration(5 * time.Minute)
	}
	if c.Mode == "" {
		c.Mode = "propose"
	}
	if c.TimeZone == "" {
		c.TimeZone = "UTC"
	}
	if c.Services == nil {
		c.Services = []string{ServiceDelivery}
	}
	return c
}

func snapshotContract(c Contract) SnapshotContract {
	return SnapshotContract{MaxConcurrent: c.MaxConcurrent, CapacityCalendar: c.CapacityCalendar, LeadTime: c.LeadTime, Slot: c.Slot, MaxMove: c.MaxMove,
		Mode: c.Mode, NotifyMinExcess: c.NotifyMinExcess, TimeZone: c.TimeZone, Services: c.Services}
}
