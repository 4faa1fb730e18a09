// Package api holds what goes over the wire between a gateway, an MFP and a region: the JSON documents, their limits and
// their conversion to the root's types.
//
// Field names are camelCase, times RFC 3339 in UTC, durations ISO 8601, errors RFC 9457 problems. Under /v1 the documents
// only grow: a reader ignores fields that it does not know, and a writer never takes one away or changes its sense.
// Reading refuses texts that are no duration, and nothing else; the struct tags are the schema that the server publishes as
// OpenAPI and enforces. The Check methods hold a document against these tags and against the rules that tags cannot say, for
// those who get it from elsewhere, and return every fault at once, each with its JSON pointer ([Faults]). [ReadSnapshot] is
// stricter: what a person wrote by hand must not be read as something else. Conversions to the wire clip what devices say to
// the schema's limits.
package api
