// Package api holds what goes over the wire between a gateway, an MFP and a region: the JSON documents, their limits and
// their conversion to the root's types.
//
// Field names are camelCase, times RFC 3339 in UTC, durations ISO 8601, errors RFC 9457 problems. Under /v1 the documents
// only grow: a reader ignores fields that it does not know, and a writer never takes one away or changes its sense.
// The package refuses nothing by itself except texts that are no duration; the struct tags are the schema that the
// server publishes as OpenAPI and enforces. Conversions to the wire clip what devices say to the schema's limits.
package api
