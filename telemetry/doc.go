// Package telemetry gives the rooms their logger and their metrics, and owns zerolog and client_golang.
//
// Every log key is a constant of package field, every event name a constant of package event, and every metric a field of
// Metrics, so that what an administrator greps or graphs is defined in one place. Nothing here is global: daemon builds
// one logger and one registry and hands them on.
package telemetry
