package api

import _ "embed" // the schemas

//go:embed snapshot.schema.json
var snapshotSchema []byte

//go:embed plan.schema.json
var planSchema []byte

// SnapshotSchema returns the JSON schema (2020-12) of Snapshot. A test of the server holds it against the types.
func SnapshotSchema() []byte { return snapshotSchema }

// PlanSchema returns the JSON schema (2020-12) of Plan.
func PlanSchema() []byte { return planSchema }
