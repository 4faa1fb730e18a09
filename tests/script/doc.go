// Package script reads like a manual of the command line: each .txtar file here is a session with mfpgate, and runs.
package script
