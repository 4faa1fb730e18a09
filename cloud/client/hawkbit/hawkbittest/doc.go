// Package hawkbittest is a hawkBit for tests: a real HTTP server that keeps to the published contract of the management API as
// far as the adapter uses it, with its traps. An assignment cancels the one before; the same distribution set is assigned once;
// a cancellation waits for the device; windows are one-shot or daily Quartz crons in an offset, and must come again; pages are
// cut; a listing of one target's actions has no links. It refuses what it does not know with hawkBit's error bodies. It was
// written from hawkBit's interfaces and is no proof of how a hawkBit behaves.
package hawkbittest
