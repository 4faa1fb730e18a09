// Package schedule shows what the delivery schedules are for: sixty planned deliveries, more at once than the relay may serve, with the
// real gateway, the real region and simulated MFPs that really download through the relay. Without the gateway's help many of them fail.
// With an operator who acts on its warnings alone, with its proposals, and with the changes that it has applied, none does.
//
// A transfer takes seconds here, not minutes: contract, durations and the relay's patience are smaller by the same factor.
//
// Besides: each change is applied once whatever kills the gateway, and whatever the cloud answers leaves the last good plan in force.
// It has no code but tests.
package schedule
